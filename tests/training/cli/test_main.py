"""Both tasks from the command line, in seconds: train, export, verify, evaluate; and errors for invalid input."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from seqserve.training.cli.main import main
from seqserve.training.export import servable
from seqserve.training.trainer import checkpoint as checkpoints

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 40
LM = ["--hidden-size", "16", "--embedding-size", "4", "--batch-size", "4", "--window", "16", "--threads", "1"]
TAGGER = ["--hidden-size", "8", "--embedding-size", "4", "--byte-embedding-size", "3", "--byte-hidden-size", "4"]
WORDS = {"dogs": "NOUN", "cats": "NOUN", "see": "VERB", "chase": "VERB", "the": "DET"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    Path("train.conllu").write_text("\n".join(sentence(a, b) for a in WORDS for b in WORDS), encoding="utf-8")
    return tmp_path


def sentence(*words: str) -> str:
    lines = [f"{i}\t{w}\t_\t{WORDS[w]}\t_\t_\t0\troot\t_\t_" for i, w in enumerate(words, start=1)]
    return "\n".join([f"# text = {' '.join(words)}", *lines, ""])


def train_lm(*more: str, out: str = "models/lm") -> int:
    return main(["lm", "--data", "text.txt", "--out", out, "--epochs", "2", *LM, *more])


def train_tagger(*more: str) -> int:
    data = ["--data", "train.conllu", "--validation", "train.conllu", "--count-min", "1"]
    return main(["tagger", *data, "--out", "models/tagger", "--batch-size", "4", *TAGGER, *more])


def figures(output: str) -> dict[str, float]:
    return {name: float(value) for name, value in (line.split() for line in output.splitlines())}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_language_model_is_trained_proven_and_judged_alike_in_torch_and_onnx_runtime(
    cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_lm("--cell", cell, "--layers", "2", "--learning-rate", "0.02", "--epochs", "4") == 0
    assert capsys.readouterr().out == "wrote models/lm/1\n"
    manifest = servable.read_manifest(Path("models/lm/1"))
    loss = manifest.metrics[0].value
    assert loss < 3.0  # log 29 = 3.4 before training
    assert manifest.parity.max_abs_error_outputs < manifest.parity.tolerance
    for model in ("runs/lm/best.pt", "models/lm/1"):
        assert main(["evaluate", model, "--data", "text.txt"]) == 0
        evaluate = figures(capsys.readouterr().out)
        assert evaluate["loss"] == pytest.approx(loss, abs=0.3)  # all of the text, not its last tenth
    assert main(["export", "runs/lm/best.pt", "--out", "models/lm"]) == 0
    assert Path("models/lm/1/model.onnx").read_bytes() == Path("models/lm/2/model.onnx").read_bytes()


def test_a_tagger_learns_and_is_judged_alike_in_torch_and_onnx_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_tagger("--learning-rate", "0.05", "--dropout", "0", "--epochs", "8") == 0
    assert capsys.readouterr().out == "wrote models/tagger/1\n"
    accuracies = []
    for model in ("runs/tagger/best.pt", "models/tagger/1"):
        assert main(["evaluate", model, "--data", "train.conllu"]) == 0
        accuracies.append(figures(capsys.readouterr().out)["accuracy"])
    assert accuracies == [1.0, 1.0]


def test_the_manifest_of_a_tagger_says_all_that_a_server_needs() -> None:
    assert train_tagger("--license", "MIT", "--data-license", "CC0-1.0", "--epochs", "1", "--word-bytes-max", "6") == 0
    content = json.loads(Path("models/tagger/1/manifest.json").read_text(encoding="utf-8"))
    assert content["task"] == "TASK_TAGGING"
    assert content["network"]["bidirectional"] is True
    assert [state["name"] for state in content["states"]] == ["h0", "c0"]
    assert [state.get("directions") for state in content["states"]] == [1, 1]
    assert [spec["role"] for spec in content["inputs"]] == [
        "TENSOR_ROLE_TOKENS",
        "TENSOR_ROLE_LENGTHS",
        "TENSOR_ROLE_WORD_BYTES",
        "TENSOR_ROLE_WORD_LENGTHS",
        "TENSOR_ROLE_CARRY_LENGTHS",
    ]
    assert content["inputs"][2]["axes"] == ["T", "B", "W"]
    assert content["outputs"][0]["axes"] == ["T", "B", "3"]
    assert content["labels"]["names"] == ["DET", "NOUN", "VERB"]
    assert content["vocabulary"].pop("probes")
    assert content["vocabulary"] == {
        "level": "TOKEN_LEVEL_WORD",
        "size": 6,
        "unknown_token": 0,
        "word_bytes_max": 6,
    }
    assert content["license"] == "MIT"
    assert content["parity"]["graph_sha256"] == content["graph"]["sha256"]
    training = content["training"]
    assert training["command"].startswith("seqserve-train tagger --data train.conllu --validation train.conllu")
    assert training["config"]["word_bytes_max"] == 6
    assert [source["split"] for source in training["data"]] == ["train", "validation"]
    assert {source["tokens"] for source in training["data"]} == {"50"}
    assert training["versions"]["torch"] == torch.__version__


def test_the_manifest_of_a_language_model_names_its_states_in_order() -> None:
    assert train_lm("--layers", "2", "--epochs", "1", "--unknown-token") == 0
    manifest = servable.read_manifest(Path("models/lm/1"))
    assert [(state.input, state.output, state.size) for state in manifest.states] == [
        (name, f"{name}_out", 16) for name in ("h0", "c0", "h1", "c1")
    ]
    tokenizer = Tokenizer.from_file("models/lm/1/tokenizer.json")
    assert manifest.vocabulary.size == tokenizer.get_vocab_size() == len(set(TEXT)) + 1
    assert manifest.vocabulary.HasField("unknown_token")
    assert not manifest.vocabulary.HasField("start_token")


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert train_lm("--seed", seed, "--epochs", "1", out=f"models/{name}") == 0
    a, b, c = (checkpoints.load(Path(f"runs/{name}/best.pt")).weights for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_equal_seeds_give_equal_taggers() -> None:
    weights = []
    for _ in range(2):
        assert train_tagger("--epochs", "1") == 0
        weights.append(checkpoints.load(Path("runs/tagger/best.pt")).weights)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_too_little_text_is_refused_with_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lm("--batch-size", "100", "--window", "100") == 1
    error = capsys.readouterr().err
    assert "text.txt: 1620 characters to train on are less than one batch" in error
    assert "--batch-size 100 times --window 100 needs 10001" in error


def test_too_few_sentences_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_tagger("--batch-size", "26") == 1
    message = "train.conllu: too few sentences to train on: 25, and --batch-size is 26; give more, or a smaller one"
    assert message in capsys.readouterr().err


def test_a_single_label_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.conllu").write_text("\n".join([sentence("dogs", "cats")] * 9), encoding="utf-8")
    assert train_tagger() == 1
    assert "train.conllu: every word has the same tag, NOUN: 2 tags are needed" in capsys.readouterr().err


def test_a_character_that_training_never_saw_is_refused_or_mapped(capsys: pytest.CaptureFixture[str]) -> None:
    Path("dev.txt").write_text("the dög\n", encoding="utf-8")
    assert train_lm("--validation", "dev.txt") == 1
    error = capsys.readouterr().err
    assert "dev.txt: the character 'ö' (offset 5 of the text) does not occur in the training text" in error
    assert train_lm("--validation", "dev.txt", "--unknown-token") == 0


def test_a_run_that_diverges_says_so_and_writes_no_servable(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lm("--learning-rate", "1e20", "--clip-norm", "1e20", "--epochs", "3") == 1
    assert "training diverged at step" in capsys.readouterr().err
    assert not Path("models").exists()


def test_a_wrong_setting_is_named_by_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lm("--hidden-size", "0") == 1
    assert "--hidden-size: Input should be greater than or equal to 1 (got '0')" in capsys.readouterr().err


def test_a_graph_that_was_changed_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lm("--epochs", "1") == 0
    with Path("models/lm/1/model.onnx").open("ab") as graph:
        graph.write(b"\0")
    assert main(["evaluate", "models/lm/1", "--data", "text.txt"]) == 1
    assert "not the graph that the manifest describes: sha256 differs" in capsys.readouterr().err
