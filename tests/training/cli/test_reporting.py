"""What a run leaves and tells: configuration, report, logs; from the command line."""

import json
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqserve.training.cli.main import main

SMALL = ["--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--window", "16", "--threads", "1"]
STEPS = 16


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 12, encoding="utf-8")
    return tmp_path


def train(*more: str) -> int:
    return main(["lm", "--data", "text.txt", "--out", "models/lm", "--epochs", "2", "--device", "cpu", *SMALL, *more])


def test_the_command_line_goes_before_the_file_and_the_whole_is_saved(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text("data: [text.txt]\nepochs: 1\nhidden_size: 5\nlayers: 2\n", encoding="utf-8")
    arguments = ["--config", "run.yaml", "--out", "models/lm", "--batch-size", "4", "--window", "16"]
    assert main(["lm", *arguments, "--hidden-size", "6"]) == 0
    saved = Path("runs/lm/config.yaml").read_text(encoding="utf-8")
    assert "\nhidden_size: 6\n" in saved
    assert "\nlayers: 2\n" in saved
    assert main(["lm", "--config", "runs/lm/config.yaml", "--out", "models/lm"]) == 0
    one, two = (json.loads(Path(f"models/lm/{n}/manifest.json").read_text(encoding="utf-8")) for n in (1, 2))
    assert one["training"]["config"] == two["training"]["config"]
    assert one["graph"] == two["graph"]
    assert main(["lm", "--out", "models/lm"]) == 1
    assert "--data is required, on the command line or in the file of --config" in capsys.readouterr().err


def test_the_report_has_curves_figures_samples_and_a_card() -> None:
    assert train("--data-license", "CC0-1.0", "--license", "MIT", "--description", "Writes of foxes.") == 0
    report = Path("runs/lm/report")
    assert (report / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    assert [each["epoch"] for each in metrics["validations"]] == [1, 2]
    assert [point["step"] for point in metrics["points"]] == list(range(1, STEPS + 1))
    assert metrics["final"].keys() == {"loss", "perplexity", "bits_per_character"}
    assert "Temperature 0.0" in (report / "samples.md").read_text(encoding="utf-8")
    card = (report / "model-card.md").read_text(encoding="utf-8")
    for part in ("Writes of foxes.", "licence of the weights: MIT", "| text.txt | train | 486 | CC0-1.0 |"):
        assert part in card
    assert f"| loss | validation | {metrics['final']['loss']:.4f} | nats/token |" in card
    assert "seqserve-train lm --data text.txt --out models/lm" in card
    assert "prompt_tokens_max" in card


def test_json_lines_tell_every_step_and_validation(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--log-json", "log.jsonl") == 0
    lines = [json.loads(line) for line in Path("log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if line["event"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert steps[0].keys() == {
        "event", "step", "epoch", "loss", "gradient_norm", "learning_rate", "tokens_per_s"
    }  # fmt: skip
    validations = [line for line in lines if line["event"] == "validation"]
    assert [(line["step"], line["epoch"]) for line in validations] == [(8, 1), (16, 2)]
    capsys.readouterr()
    assert train("--log-json", "-") == 0
    *reported, wrote = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["event"] for line in reported] == [line["event"] for line in lines]
    assert wrote == "wrote models/lm/2"


def test_a_log_that_cannot_be_written_is_refused_before_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--log-json", "missing/log.jsonl") == 1
    assert "--log-json missing/log.jsonl: No such file or directory" in capsys.readouterr().err
    assert not Path("runs/lm/best.pt").exists()


def test_tensorboard_gets_every_step_and_validation() -> None:
    assert train("--tensorboard", "events") == 0
    events = EventAccumulator("events")
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, STEPS + 1))
    assert [event.step for event in events.Scalars("validation/perplexity")] == [8, 16]


def test_without_tensorboard_one_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # what an import of a missing module meets
    assert train("--tensorboard", "events") == 1
    assert "pip install 'seqserve[tensorboard]'" in capsys.readouterr().err
