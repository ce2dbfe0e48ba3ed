"""What a new user gets wrong: a line that says what, where and what to do, before anything is trained or written."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from seqserve.training.cli.main import main
from seqserve.training.config import ClassifierConfig
from seqserve.training.tasks.classifier import parts
from seqserve.training.trainer import checkpoint
from seqserve.training.trainer.devices import enough_memory

SIZES = ["--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--epochs", "1", "--threads", "1"]
DATA = {
    "lm": ["--data", "text.txt", "--window", "16"],
    "tagger": ["--data", "tags.txt", "--validation", "tags.txt"],
    "classifier": ["--data", "texts.tsv"],
    "infilling": ["--data", "text.txt", "--validation", "text.txt"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    for name, content in {
        "text.txt": "the quick brown fox jumps over the lazy dog.\n" * 20,
        "tags.txt": "dogs\tNOUN\nsee\tVERB\n\n" * 20,
        "texts.tsv": "label\ttext\n" + "good\tfine\nbad\tdull\n" * 20,
        "one.tsv": "label\ttext\n" + "good\tfine\n" * 20,
        "empty.txt": "",
        "small.txt": "abc",
        "config.yaml": "learning_rate: fast\ndata: text.txt\n",
        "broken.yaml": "a: [1\n",
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said, which has to be short."""
    reported = capsys.readouterr().err.strip()
    assert len(reported.splitlines()) <= 2
    assert reported.startswith("seqserve-train: ")
    return reported.removeprefix("seqserve-train: ")


@pytest.mark.parametrize(
    ("task", "flags", "reported"),
    [
        ("lm", "--learning-rate nan", "--learning-rate: Input should be a finite number (got 'nan')"),
        ("lm", "--learning-rate inf", "--learning-rate: Input should be a finite number (got 'inf')"),
        ("lm", "--momentum 0.9", "momentum does nothing without optimizer sgd or rmsprop: add that, or leave momentum"),
        ("lm", "--optimizer rmsprop --momentum 0.9 --nesterov", "nesterov does nothing without optimizer sgd"),
        ("lm", "--decay-epochs 2", "decay_epochs does nothing without schedule step or plateau"),
        ("lm", "--cut 0.2", "cut does nothing without truncation random"),
        ("lm", "--learned-leak", "learned_leak does nothing without cell leaky"),
        ("lm", "--best-metric accuracy", "--best-metric: must be one of loss, perplexity, bits_per_character"),
        ("lm", "--bidirectional", "a language model cannot be bidirectional"),
        ("lm", "--tied-weights", "tied_weights: embedding_size 4 must equal hidden_size, 8"),
        ("lm", "--data empty.txt", "empty.txt: the file is empty: expected text"),
        ("lm", "--data small.txt", "small.txt: 2 characters to train on are less than one batch: --batch-size 4 times"),
        ("lm", "--documents", "text.txt: of 1 documents none is left to train on: give more, or files to --validation"),
        ("lm", "--data directory", "directory: the directory holds no file"),
        ("lm", "--validation missing.txt", "missing.txt: cannot be read: No such file or directory"),
        ("lm", "--config broken.yaml", "broken.yaml: cannot be read as a configuration"),
        ("lm", "--out text.txt", "text.txt: no folder for a model: text.txt is a file; --out is models/NAME"),
        ("lm", "--out models/my-model!", "models/my-model!: 'my-model!' cannot be a model's name"),
        ("lm", "--tensorboard text.txt", "--tensorboard text.txt: File exists"),
        ("lm", "--resume", "runs/x: no run to go on with: neither last.pt nor previous.pt is there and good; name its"),
        ("lm", "--hidden-size 10000000", "out of memory"),
        ("tagger", "--constraints", "constraints does nothing without crf: add that, or leave constraints out"),
        ("tagger", "--crf --constraints", "tags.txt: constraints, replaced mentions and figures of spans"),
        (
            "tagger",
            "--best-metric span_f1",
            "unlike NOUN, VERB; leave --constraints and --mention-replacement out, and let --best-metric be loss",
        ),
        ("tagger", "--validation empty.txt", "empty.txt: the file is empty"),
        ("tagger", "--batch-size 99", "tags.txt: too few sentences to train on: 20, and --batch-size is 99; give more"),
        ("classifier", "--threshold 0.9", "threshold does nothing without multiple: add that, or leave threshold out"),
        ("classifier", "--best-metric label_f1", "best_metric label_f1 is computed only with multiple"),
        ("classifier", "--data one.tsv", "one.tsv: every text has the same label, good: 2 labels are needed"),
        ("classifier", "--batch-size 99", "texts.tsv: too few texts to train on: 36, and --batch-size is 99"),
        ("infilling", "--batch-size 99", "text.txt: too few sequences to train on: 20, and --batch-size is 99"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_trained(
    task: str, flags: str, reported: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([task, *DATA[task], "--out", "models/x", *SIZES, *flags.split()]) == 1
    assert reported in capsys.readouterr().err.replace("\r", "\n")
    assert not Path("models").exists()
    assert not Path("runs/x/best.pt").exists()


def test_what_a_file_says_wrong_is_told_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", "--config", "config.yaml", "--out", "models/x"]) == 1
    first, second = complaint(capsys).splitlines()
    assert first.startswith("config.yaml: learning_rate: Input should be a valid number")
    assert second == "config.yaml: data: Input should be a list (got 'text.txt')"
    assert main(["lm", "--config", "config.yaml", "--data", "text.txt", "--learning-rate", "slow", "--out", "m/x"]) == 1
    assert complaint(capsys).startswith("--learning-rate: Input should be a valid number")


@pytest.mark.parametrize(
    ("command", "reported"),
    [
        ("export missing.pt --out models/x", "missing.pt: no such file; the checkpoint of a run is runs/NAME/best.pt"),
        ("export directory --out models/x", "directory: a folder; the checkpoint of a run is runs/NAME/best.pt"),
        ("export text.txt --out models/x", "text.txt: not a checkpoint of seqserve-train"),
        ("evaluate missing.pt", "missing.pt: no such file"),
        ("evaluate directory", "directory: no servable: it has no manifest.json; one is models/NAME/1, for instance"),
        ("data inspect --data missing.tsv", "missing.tsv: cannot be read: No such file or directory"),
    ],
)
def test_what_is_not_there_is_named(command: str, reported: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 1
    assert reported in complaint(capsys)
    assert not Path("models").exists()


def test_a_run_is_no_network_and_goes_on_only_as_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    begun = ["lm", *DATA["lm"], "--out", "models/x", *SIZES]
    assert main(begun) == 0
    capsys.readouterr()
    assert main(["export", "runs/x/last.pt", "--out", "models/y"]) == 1
    assert (
        complaint(capsys) == "runs/x/last.pt: where a run stands, for --resume; its best network is best.pt beside it"
    )
    assert main([*begun, "--resume", "--learning-rate", "0.5"]) == 1
    assert "learning_rate was 0.002 and is 0.5 now. Restore their first values, or start a new run" in complaint(capsys)
    assert main(["tagger", *DATA["tagger"], "--out", "models/x", *SIZES, "--resume"]) == 1
    assert "runs/x: a run of 'lm' and not of 'tagger'" in complaint(capsys)


def test_a_tagger_is_not_judged_on_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tagger", *DATA["tagger"], "--out", "models/x", *SIZES]) == 0
    capsys.readouterr()
    for model in ("runs/x/best.pt", "models/x/1"):
        assert main(["evaluate", model, "--data", "empty.txt"]) == 1
        assert complaint(capsys) == "empty.txt: the file is empty: expected text"


def test_half_a_servable_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", *DATA["lm"], "--out", "models/x", *SIZES]) == 0
    capsys.readouterr()
    Path("models/x/1/model.onnx").unlink()
    assert main(["evaluate", "models/x/1"]) == 1
    assert (
        complaint(capsys) == "models/x/1/model.onnx: cannot be read, and a servable has one: No such file or directory"
    )


def test_a_setting_of_another_version_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", *DATA["lm"], "--out", "models/x", *SIZES]) == 0
    capsys.readouterr()
    made = checkpoint.load(Path("runs/x/best.pt"))
    other = json.dumps(json.loads(made.config) | {"warp": 9})
    checkpoint.save(Path("runs/x/other.pt"), dataclasses.replace(made, config=other))
    for command in (["evaluate", "runs/x/other.pt"], ["export", "runs/x/other.pt", "--out", "models/y"]):
        assert main(command) == 1
        assert "does not have: warp: Extra inputs are not permitted" in complaint(capsys)


def test_texts_that_are_left_for_a_test_are_left_where_files_to_validate_on_are_given() -> None:
    config = {"data": ["texts.tsv"], "test_fraction": 0.25, "split_seed": 3}
    apart = parts(ClassifierConfig.model_validate({**config, "validation": ["one.tsv"]}))
    assert [len(part) for part in apart] == [30, 20]
    together = parts(ClassifierConfig.model_validate({**config, "validation_fraction": 0.1}))
    assert [len(part) for part in together] == [26, 4]
    assert apart[0] == [*together[0], *together[1]]  # the same texts are left


def test_an_error_of_torch_that_is_not_of_memory_stays_one() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), enough_memory():
        torch.mm(torch.ones(2, 3), torch.ones(2, 3))
