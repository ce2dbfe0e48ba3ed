"""A run that stops at any step and resumes equals, to the last bit, a run that never stopped."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from seqserve.training import run
from seqserve.training.config import LanguageModelConfig
from seqserve.training.errors import CheckpointError, ConfigError, InterruptedRunError
from seqserve.training.tasks.registry import TASKS
from seqserve.training.trainer import checkpoint as checkpoints
from seqserve.training.trainer.progress import ProgressListener, ProgressListeners, StepEvent, ValidationEvent

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 12
SETTINGS: dict[str, Any] = {
    "hidden_size": 8,
    "embedding_size": 4,
    "layers": 2,
    "batch_size": 4,
    "window": 16,
    "threads": 1,
    "dropout": 0.3,
    "state_reset": 0.3,
    "average": 0.9,
    "optimizer": "rmsprop",
    "momentum": 0.5,
    "schedule": "plateau",
    "decay_epochs": 1,
    "learning_rate": 0.01,
    "device": "cpu",
}
EPOCHS = 3
EPOCH_STEPS = 8


class PowerCutError(Exception):
    """Nothing is saved any more."""


class At:
    """Does something after a step."""

    def __init__(self, step: int, what: str) -> None:
        self._step, self._what = step, what

    def on_step(self, event: StepEvent) -> None:
        if event.step == self._step:
            if self._what == "plug":
                raise PowerCutError
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation(self, event: ValidationEvent) -> None:
        del event


@contextmanager
def watched(watcher: ProgressListener, steps: int) -> Generator[ProgressListener]:
    del steps
    yield watcher


def train(folder: Path, *, watcher: ProgressListener | None = None, resume: bool = False, **changes: object) -> None:
    (folder.parent / "text.txt").write_text(TEXT, encoding="utf-8")
    config = LanguageModelConfig.model_validate(
        SETTINGS | {"data": [folder.parent / "text.txt"], "epochs": EPOCHS} | changes
    )
    run.train(
        TASKS["lm"],
        config,
        command="seqserve-train lm",
        folder=folder,
        resume=resume,
        progress=partial(watched, watcher or ProgressListeners()),
        notify=print,
    )


def final(folder: Path) -> dict[str, Any]:
    """All that a run leaves but times."""
    trainer = checkpoints.newest_state(folder, print).trainer
    best = checkpoints.load(folder / "best.pt")
    validations = [each["metrics"] for each in trainer["history"]["validations"]]
    losses = [point["loss"] for point in trainer["history"]["points"]]
    weights = {f"best.{name}": weight for name, weight in best.weights.items()}
    weights |= {f"last.{name}": weight for name, weight in trainer["network"].items()}
    return {"weights": weights, "validations": validations, "losses": losses, "best": best.metrics}


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert {name for name in one["weights"] if not torch.equal(one["weights"][name], other["weights"][name])} == set()
    assert one["weights"].keys() == other["weights"].keys()
    for name in ("validations", "losses", "best"):
        assert one[name] == other[name]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the run that never stops leaves."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder)
    result = final(folder)
    assert len(result["losses"]) == EPOCHS * EPOCH_STEPS
    return result


@pytest.mark.parametrize("steps", [(1,), (EPOCH_STEPS,), (EPOCH_STEPS + 1,), (3, 11, 14), (EPOCHS * EPOCH_STEPS - 1,)])
def test_a_run_that_is_stopped_at_any_step_goes_on_as_if_it_had_not(
    tmp_path: Path, whole: dict[str, Any], steps: tuple[int, ...]
) -> None:
    folder = tmp_path / "run"
    for sitting, step in enumerate(steps):
        with pytest.raises(InterruptedRunError, match=rf"stopped by SIGTERM after step {step + 1}; "):
            train(folder, watcher=At(step, "signal"), resume=sitting > 0)
    train(folder, resume=True)
    assert_equal(final(folder), whole)


@pytest.mark.parametrize("step", [5, EPOCH_STEPS + 5, 2 * EPOCH_STEPS])
def test_a_run_that_is_cut_off_goes_on_from_the_last_checkpoint(
    tmp_path: Path, whole: dict[str, Any], step: int
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(PowerCutError):
        train(folder, watcher=At(step, "plug"), checkpoint_every=3)
    train(folder, resume=True)
    assert_equal(final(folder), whole)


def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, whole: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(PowerCutError):
        train(folder, watcher=At(EPOCH_STEPS + 5, "plug"), checkpoint_every=3)
    content = (folder / "last.pt").read_bytes()
    (folder / "last.pt").write_bytes(content[: len(content) // 2])
    train(folder, resume=True)
    assert "last.pt: not a checkpoint of seqserve-train" in capsys.readouterr().out
    assert_equal(final(folder), whole)


def test_a_run_that_has_ended_has_nothing_more_to_do(tmp_path: Path, whole: dict[str, Any]) -> None:
    folder = tmp_path / "run"
    train(folder)
    train(folder, resume=True)
    assert_equal(final(folder), whole)


def test_what_would_make_it_another_run_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(CheckpointError, match="no run to go on with"):
        train(folder, resume=True)
    with pytest.raises(InterruptedRunError):
        train(folder, watcher=At(2, "signal"))
    with pytest.raises(ConfigError, match=r"change these settings: learning_rate was 0\.01 and is 0\.02 now"):
        train(folder, resume=True, learning_rate=0.02)
    state = checkpoints.newest_state(folder, print)
    checkpoints.save_state(folder, checkpoints.RunState(state.task, state.config, ("0" * 64,), state.trainer))
    with pytest.raises(CheckpointError, match="the data files differ from those of the run"):
        train(folder, resume=True)


def test_a_run_may_go_on_for_longer(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, epochs=1)
    train(folder, resume=True, epochs=2)
    assert len(final(folder)["validations"]) == 2
