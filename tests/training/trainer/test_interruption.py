import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seqserve.training.errors import InterruptedRunError
from seqserve.training.trainer.interruption import interruption
from seqserve.training.trainer.progress import StepEvent, ValidationEvent
from seqserve.training.trainer.trainer import Trainer
from tests.training.learners import Line, config, fit


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_end_and_the_run_save(number: signal.Signals) -> None:
    class Kill:
        def on_step(self, event: StepEvent) -> None:
            if event.step == 2:
                os.kill(os.getpid(), number)

        def on_validation(self, event: ValidationEvent) -> None:
            del event

    saved = list[int]()
    trainer = Trainer(Line([2.0, 1.0, 1.5]), config())
    message = rf"stopped by {number.name} after step 3; the same command with --resume continues it"
    with interruption() as requested, pytest.raises(InterruptedRunError, match=message):
        fit(trainer, save=lambda: saved.append(trainer.state.step), watch=Kill(), requested=requested)
    assert saved == [2, 3]


def test_a_second_interrupt_ends_the_run_at_once_and_what_was_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruption() as requested:
        os.kill(os.getpid(), signal.SIGINT)
        assert requested.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_command_says_how_to_go_on_and_ends_as_a_signal_ends_programs(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 40, encoding="utf-8")
    sizes = ["--hidden-size", "8", "--batch-size", "4", "--window", "16", "--threads", "1", "--epochs", "500"]
    arguments = ["lm", "--data", "text.txt", "--out", "models/lm", "--device", "cpu", "--log-json", "-", *sizes]
    command = [sys.executable, "-m", "seqserve.training", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith('{"event": "step", "step": 1,')
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "seqserve-train: stopped by SIGTERM after step" in errors
    assert "the same command with --resume continues it" in errors
    assert (tmp_path / "runs" / "lm" / "last.pt").exists()
    assert not (tmp_path / "models").exists()
