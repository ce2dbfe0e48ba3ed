"""Runs `seqserve-train` as a user would, and reads its output."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format

from seqserve.v1 import manifest_pb2


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        command: The command as the page shows it.
        metrics: Figures on the validation data.
        last_loss: Mean training loss of the last point of the curves, in nats.
        parity: Maximum difference of logits between torch and ONNX Runtime.
        cpu_s: Processor time in seconds.
        servable: Folder of the exported servable.
    """

    command: str
    metrics: dict[str, float]
    last_loss: float
    parity: float
    cpu_s: float
    servable: Path


def train(data: Path, work: Path, name: str, task: str, *arguments: str) -> Trained:
    """Trains and exports one model in a separate process.

    Args:
        data: Folder of the data sets, which ``DATA`` in an argument stands for.
        work: Folder for the run and the servable, shown as ``OUT``.
        name: Name of the model.
        task: Subcommand of `seqserve-train`.
        *arguments: Further arguments.

    Raises:
        RuntimeError: The command failed; the message holds the end of its output.
    """
    shown = ["seqserve-train", task, *arguments, "--out", f"OUT/models/{name}", "--run", f"OUT/runs/{name}"]
    run = [argument.replace("DATA", str(data)).replace("OUT", str(work)) for argument in shown[1:]]
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "seqserve.training", *run], capture_output=True, text=True, check=False
    )
    after = os.times()
    if done.returncode:
        raise RuntimeError(f"{shlex.join(shown)} failed:\n{done.stderr[-2000:]}")
    versions = sorted((work / "models" / name).iterdir(), key=lambda folder: int(folder.name))
    manifest = json_format.Parse((versions[-1] / "manifest.json").read_text(encoding="utf-8"), manifest_pb2.Manifest())
    report = json.loads((work / "runs" / name / "report" / "metrics.json").read_text(encoding="utf-8"))
    return Trained(
        command=shlex.join(shown),
        metrics={metric.name: metric.value for metric in manifest.metrics if metric.split == "validation"},
        last_loss=report["points"][-1]["loss"],
        parity=manifest.parity.max_abs_error_outputs,
        cpu_s=after.children_user + after.children_system - before.children_user - before.children_system,
        servable=versions[-1],
    )
