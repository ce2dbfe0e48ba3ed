"""int8 from the command line: what it costs is measured and told, and refused where it is too much."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from seqserve.training import run as runs
from seqserve.training.cli.main import main
from seqserve.training.errors import ExportError
from seqserve.training.evaluation import quantization
from seqserve.training.export import servable
from seqserve.training.runner import GraphRunner, carried, initial_states
from seqserve.v1 import manifest_pb2, state_pb2

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 40
SIZES = ["--hidden-size", "16", "--embedding-size", "4", "--threads", "1"]
WORDS = {"dogs": "NOUN", "cats": "NOUN", "see": "VERB", "chase": "VERB", "the": "DET"}
DATA = {
    "lm": ["--data", "text.txt", "--batch-size", "4", "--window", "16"],
    "tagger": ["--data", "train.txt", "--validation", "train.txt", "--count-min", "1", "--batch-size", "4"],
    "classifier": ["--data", "texts.tsv", "--validation", "texts.tsv", "--count-min", "1", "--batch-size", "4"],
    "infilling": ["--data", "text.txt", "--validation", "text.txt", "--count-min", "1", "--batch-size", "4"],
}
METRIC = {"lm": "loss", "tagger": "accuracy", "classifier": "accuracy", "infilling": "loss"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    sentences = "\n".join("".join(f"{word}\t{WORDS[word]}\n" for word in (a, b, "the")) for a in WORDS for b in WORDS)
    Path("train.txt").write_text(sentences, encoding="utf-8")
    Path("texts.tsv").write_text(
        "label\ttext\n" + "".join(f"{tag}\t{a} {a}\n" for a, tag in WORDS.items()) * 4, encoding="utf-8"
    )
    return tmp_path


def train(task: str, *more: str) -> int:
    return main([task, *DATA[task], "--out", f"models/{task}", "--epochs", "1", *SIZES, *more])


def export(task: str, *more: str) -> int:
    return main(["export", f"runs/{task}/best.pt", "--out", f"models/{task}", *more])


@pytest.mark.parametrize("task", list(DATA))
def test_training_in_int8_writes_a_proven_servable_that_says_its_price(task: str) -> None:
    assert train(task, "--precision", "int8", "--quality-loss-max", "1") == 0
    manifest = servable.read_manifest(Path(f"models/{task}/1"))
    record = manifest.quantization
    assert manifest.precision == state_pb2.PRECISION_INT8
    assert record.metric == METRIC[task]
    assert record.data[0].split == "validation"
    assert 0 < record.mean_abs_logit_error <= record.max_abs_logit_error < 1
    assert record.size_ratio > 0
    assert {metric.name: metric.value for metric in manifest.metrics}[record.metric] == record.quantized_value
    assert record.quantized_value == pytest.approx(record.float32_value, abs=0.2)
    trained = runs.evaluate(Path(f"runs/{task}/best.pt"), [])
    assert record.float32_value == pytest.approx(trained.figures[record.metric], abs=1e-4)
    served = runs.evaluate(Path(f"models/{task}/1"), [])
    assert record.quantized_value == pytest.approx(served.figures[record.metric], abs=1e-6)


def test_an_export_goes_by_the_training_unless_it_is_told() -> None:
    assert train("lm") == 0
    assert export("lm") == 0
    assert export("lm", "--precision", "int8", "--data", "text.txt", "--quality-loss-max", "0.5") == 0
    plain, _, small = (servable.read_manifest(Path(f"models/lm/{version}")) for version in (1, 2, 3))
    assert plain.precision == state_pb2.PRECISION_FLOAT32
    assert not plain.HasField("quantization")
    assert small.precision == state_pb2.PRECISION_INT8
    assert small.quantization.data[0].name == "text.txt"
    assert small.quantization.data[0].split == "given"
    assert plain.network == small.network
    assert [spec.name for spec in plain.states] == [spec.name for spec in small.states]


def test_a_price_that_is_too_high_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("lm") == 0
    assert export("lm", "--precision", "int8", "--quality-loss-max", "-1") == 1
    reported = capsys.readouterr().err
    assert "int8 costs more than --quality-loss-max -1: loss" in reported
    assert "nothing was written. Bear more, or export in fp32" in reported
    assert [path.name for path in Path("models/lm").iterdir()] == ["1"]


def test_the_price_of_a_classifier_is_measured_on_files_of_one_label_too() -> None:
    assert train("classifier") == 0
    for label, text in (("NOUN", "dogs cats"), ("VERB", "see chase")):
        Path(f"{label}.txt").write_text(f"{text}\n" * 3, encoding="utf-8")
    data = ["--data", "NOUN=NOUN.txt", "VERB=VERB.txt"]
    assert export("classifier", "--precision", "int8", "--quality-loss-max", "1", *data) == 0
    record = servable.read_manifest(Path("models/classifier/2")).quantization
    assert [source.name for source in record.data] == ["NOUN.txt", "VERB.txt"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--data", "text.txt"], "--data"),
        (["--quality-loss-max", "0"], "--quality-loss-max"),
        (["--data", "text.txt", "--quality-loss-max", "1", "--precision", "fp32"], "--data and --quality-loss-max"),
    ],
)
def test_float32_has_no_price_to_speak_of(flags: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("lm") == 0
    assert export("lm", *flags) == 1
    reported = capsys.readouterr().err
    assert f"{named}: only of use with --precision int8" in reported
    assert "Add --precision int8, or leave them out" in reported
    assert [path.name for path in Path("models/lm").iterdir()] == ["1"]


def test_training_in_float32_has_no_price_either(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("lm", "--quality-loss-max", "0.5") == 1
    assert "--quality-loss-max: only of use with --precision int8" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.parametrize(("metric", "values", "dear"), [("loss", (1.0, 1.2), True), ("accuracy", (1.0, 1.2), False)])
def test_less_loss_is_better_and_less_accuracy_is_worse(metric: str, values: tuple[float, float], dear: bool) -> None:
    record = manifest_pb2.QuantizationRecord(metric=metric, float32_value=values[0], quantized_value=values[1])
    if dear:
        with pytest.raises(ExportError, match=r"loss 1\.0000 in float32, 1\.2000 in int8, worse by 0\.2000"):
            quantization.refuse_quality_loss(record, 0.1)
    else:
        quantization.refuse_quality_loss(record, 0.1)
    quantization.refuse_quality_loss(record, 0.3)
    record.quantized_value = float("nan")
    with pytest.raises(ExportError):
        quantization.refuse_quality_loss(record, 0.3)


def test_without_the_data_of_the_training_others_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("lm") == 0
    Path("text.txt").unlink()
    assert export("lm", "--precision", "int8") == 1
    assert "text.txt: cannot be read" in (reported := capsys.readouterr().err)
    assert "give others with --data" in reported


@pytest.mark.parametrize("cell", ["rnn_relu", "sru"])
def test_a_cell_without_a_range_is_refused_before_it_trains(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("lm", "--precision", "int8", "--cell", cell) == 1
    assert f"precision int8 needs hidden states of a fixed range, and {cell} has none" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_differences_are_those_of_two_networks_that_each_go_their_way() -> None:
    assert train("lm", "--precision", "int8", "--quality-loss-max", "1") == 0
    assert export("lm", "--precision", "fp32") == 0
    small, plain = (Path(f"models/lm/{version}") for version in (1, 2))
    manifest = servable.read_manifest(small)
    tokenizer = Tokenizer.from_file(str(small / servable.TOKENIZER_FILE))
    ids = np.asarray(tokenizer.encode(TEXT[-len(TEXT) // 10 :]).ids, dtype=np.int32)[:-1, None]
    logits = list[np.ndarray]()
    for folder in (small, plain):
        run, state, steps = (
            GraphRunner((folder / servable.GRAPH_FILE).read_bytes()),
            initial_states(manifest.states, 1),
            [],
        )
        for token in ids:
            outputs = run({"tokens": token[None], "lengths": np.ones(1, np.int32), **state})
            state = carried(outputs, tuple(spec.input for spec in manifest.states))
            steps.append(outputs["logits"])
        logits.append(np.concatenate(steps))
    differences = np.abs(logits[0] - logits[1])
    assert manifest.quantization.max_abs_logit_error == pytest.approx(differences.max(), abs=1e-5)
    assert manifest.quantization.mean_abs_logit_error == pytest.approx(differences.mean(), rel=1e-3)
