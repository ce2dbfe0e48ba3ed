"""Cost of the training loop compared with bare torch, and a stopped and resumed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.results.row import Outcome, Row
from seqserve.training.trainer.checkpoint import load

_STOP_AFTER = (7, 61, 150)  # steps after which the run is stopped, one after the other


def speed(data: Path, work: Path) -> Outcome:
    """Runs the benchmark `training` in a separate process."""
    del data, work
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "training"], stdout=subprocess.PIPE, text=True, check=True
    )
    after = os.times()
    figures = json.loads(done.stdout.splitlines()[-1])
    ratio = figures["loop_over_bare"]
    return Outcome(
        table=[{"figure": key, "value": value} for key, value in figures.items() if isinstance(value, float)],
        reached=f"{ratio:.2f}",
        passed=ratio >= 0.9,
        commands=["python -m benchmarks training"],
        cpu_s=after.children_user + after.children_system - before.children_user - before.children_system,
    )


def resume(data: Path, work: Path) -> Outcome:
    """Compares an uninterrupted run with one that is stopped by signals and resumed."""
    text = str(data / "time_machine" / "timemachine.txt")
    arguments = ["lm", "--data", text, "--hidden-size", "64", "--embedding-size", "16", "--epochs", "3"]
    arguments += ["--threads", "1", "--batch-size", "16", "--checkpoint-every", "50"]
    whole = _run([*arguments, "--out", str(work / "models/whole"), "--run", str(work / "whole")])
    stopped = [*arguments, "--out", str(work / "models/stopped"), "--run", str(work / "stopped")]
    stops = 0
    for steps in _STOP_AFTER:
        stops += _run([*stopped, *(["--resume"] if stops else [])], stop_after=steps) != 0
    last = _run([*stopped, "--resume"])
    pairs = zip(
        load(work / "whole" / "best.pt").weights.values(),
        load(work / "stopped" / "best.pt").weights.values(),
        strict=True,
    )
    equal = whole == last == 0 and all(torch.equal(first, second) for first, second in pairs)
    return Outcome(
        table=[{"stopped": stops, "weights": "equal to the bit" if equal else "different"}],
        reached=f"bit-equal after {stops} stops" if equal else "different",
        passed=equal and stops == len(_STOP_AFTER),
        commands=["python -m benchmarks results resume --data DATA"],
        cpu_s=0.0,
    )


def _run(arguments: list[str], stop_after: int | None = None) -> int:
    """Trains, with SIGTERM after ``stop_after`` steps. Returns the exit status."""
    command = [sys.executable, "-m", "seqserve.training", *arguments, "--log-json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for number, _ in enumerate(process.stdout, 1):
            if number == stop_after:
                process.send_signal(signal.SIGTERM)
        return process.wait()


ROWS = (
    Row(
        name="speed",
        title="training speed: tokens/s of the loop over bare torch forward, backward, step of the same model",
        target=">= 0.9",
        reference="",
        measure=speed,
    ),
    Row(
        name="resume",
        title="resume: stop at any step, resume",
        target="bit-equal weights",
        reference="`tests/training/trainer/test_resume.py` stops at more steps",
        measure=resume,
    ),
)
