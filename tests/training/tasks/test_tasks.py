"""Taggers, classifiers and infilling models from the command line: trained, proven, judged alike in both forms."""

import json
from pathlib import Path

import pytest

from seqserve.training.cli.main import main
from seqserve.training.export import servable
from seqserve.v1 import manifest_pb2

SMALL = ["--hidden-size", "12", "--embedding-size", "8", "--batch-size", "4", "--threads", "1", "--count-min", "1"]
QUICK = ["--learning-rate", "0.05", "--dropout", "0", "--word-dropout", "0"]
NAMES = (("B-PER", "王"), ("I-PER", "明"), ("O", "去"), ("B-LOC", "台"), ("I-LOC", "北"))
TEXTS = {"pos": ("a good film", "good and fine", "so fine"), "neg": ("a bad film", "bad and dull", "so dull")}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sentence = "\n".join(f"{word}\t{tag}" for tag, word in NAMES) + "\n\n"
    Path("names.bio").write_text(sentence * 8, encoding="utf-8")
    for label, texts in TEXTS.items():
        Path(f"{label}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    rows = [f"{text}\t{label}" for label, texts in TEXTS.items() for text in texts]
    Path("texts.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")
    Path("lines.txt").write_text("the cat sat on the mat\nthe dog sat on the rug\n" * 8, encoding="utf-8")
    return tmp_path


def train(task: str, data: str, *more: str, epochs: int = 12) -> int:
    files = ["--data", *data.split(), "--validation", *data.split()]
    return main([task, *files, "--out", f"models/{task}", "--epochs", str(epochs), *SMALL, *QUICK, *more])


def evaluate(task: str, data: str, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """The figures of the checkpoint, which are those of the newest servable too."""
    newest = max(Path(f"models/{task}").iterdir(), key=lambda path: int(path.name))
    figures = []
    capsys.readouterr()
    for model in (f"runs/{task}/best.pt", str(newest)):
        assert main(["evaluate", model, "--data", *data.split()]) == 0
        lines = (line.split() for line in capsys.readouterr().out.splitlines())
        figures.append({name: float(value) for name, value in lines})
    assert figures[0] == pytest.approx(figures[1], abs=2e-6)
    return figures[0]


@pytest.mark.parametrize("more", [(), ("--no-bidirectional",), ("--bigrams", "50", "--constraints")], ids=str)
def test_a_crf_tagger_of_characters_finds_the_spans(more: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert train("tagger", "names.bio", "--level", "character", "--crf", *more) == 0
    figures = evaluate("tagger", "names.bio", capsys)
    assert figures["span_f1"] == 1.0
    manifest = servable.read_manifest(Path("models/tagger/1"))
    assert manifest.labels.scheme == manifest_pb2.LABEL_SCHEME_BIO
    assert manifest.network.crf
    assert len(manifest.labels.transitions) == 25
    assert manifest.states
    assert main(["evaluate", "models/tagger/1", "--data", "names.bio", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"figures", "macro_f1", "labels"}
    assert set(report["labels"]["O"]) == {"precision", "recall", "f1", "support"}
    assert main(["evaluate", "models/tagger/1", "--data", "names.bio", "--confusion"]) == 0
    assert "| O | 0 | 0 | 0 | 0 | 8 |" in capsys.readouterr().out


def test_a_label_that_training_never_had_is_reported_and_counted_as_wrong(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    Path("new.bio").write_text("王\tB-PER\n明\tI-PER\n去\tO\n北\tB-ORG\n\n", encoding="utf-8")
    assert train("tagger", "names.bio", "--level", "character", "--crf", "--validation", "new.bio") == 0
    assert "labels of the validation data that training never had, counted as wrong: B-ORG (1)" in caplog.text
    figures = evaluate("tagger", "new.bio", capsys)
    assert figures["unseen_labels"] == 1
    assert figures["accuracy"] <= 0.75
    assert figures["span_recall"] <= 0.5
    assert figures["loss"] == 0  # no sentence is left that has a likelihood


@pytest.mark.parametrize("data", ["texts.tsv", "pos=pos.txt neg=neg.txt"])
def test_a_classifier_learns_labels_of_columns_and_of_files(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("classifier", data) == 0
    assert evaluate("classifier", data, capsys)["accuracy"] == 1.0
    manifest = servable.read_manifest(Path("models/classifier/1"))
    assert manifest.task == manifest_pb2.TASK_CLASSIFICATION
    assert manifest.labels.names == ["neg", "pos"]
    assert [spec.role for spec in manifest.outputs] == [manifest_pb2.TENSOR_ROLE_CLASS_LOGITS]
    assert list(manifest.outputs[0].axes) == ["B", "2"]


def test_a_classifier_of_several_labels_finds_all_and_none(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ['{"text": "good film", "label": ["film", "good"]}', '{"text": "good", "label": ["good"]}']
    rows += ['{"text": "film", "label": ["film"]}', '{"text": "nothing", "label": []}']
    Path("several.jsonl").write_text("\n".join(rows * 3) + "\n", encoding="utf-8")
    more = ["--multiple", "--threshold", "0.4", "--no-bidirectional", "--pooling", "mean"]
    assert train("classifier", "several.jsonl", *more, epochs=30) == 0
    figures = evaluate("classifier", "several.jsonl", capsys)
    assert (figures["accuracy"], figures["label_f1"]) == (1.0, 1.0)
    labels = servable.read_manifest(Path("models/classifier/1")).labels
    assert labels.multiple
    assert labels.threshold == pytest.approx(0.4)


def test_texts_of_one_label_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pos.txt").write_text("good\nfine\nso good\nso fine\n", encoding="utf-8")
    assert train("classifier", "pos=pos.txt") == 1
    assert "every text has the same label, pos: 2 labels are needed" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--no-bidirectional",), ("--level", "character")], ids=str)
def test_an_infilling_model_fills_blanks_and_says_how_well(
    more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("infilling", "lines.txt", *more, epochs=20) == 0
    figures = evaluate("infilling", "lines.txt", capsys)
    assert figures["top_1"] > 0.5
    assert figures["top_1"] <= figures["top_5"] <= 1
    manifest = servable.read_manifest(Path("models/infilling/1"))
    assert manifest.task == manifest_pb2.TASK_INFILLING
    assert manifest.vocabulary.HasField("mask_token")
    assert manifest.network.bidirectional == ("--no-bidirectional" not in more)
    assert bool(manifest.states) == ("--no-bidirectional" in more)


def test_the_future_helps(capsys: pytest.CaptureFixture[str]) -> None:
    """The first word of a line says nothing, the second all about it: only who reads it can fill the blank."""
    pairs = [f"{a} {b}" for a, b in (("red", "fire"), ("blue", "sea"), ("green", "leaf"), ("white", "snow"))]
    Path("pairs.txt").write_text("\n".join(pairs * 16) + "\n", encoding="utf-8")
    top = {}
    for direction in ("--bidirectional", "--no-bidirectional"):
        assert train("infilling", "pairs.txt", direction, "--blank-fraction", "0.3", epochs=20) == 0
        top[direction] = evaluate("infilling", "pairs.txt", capsys)["top_1"]
    assert top["--bidirectional"] == 1.0
    assert top["--no-bidirectional"] < 0.9
