"""Logs of a run for programs: JSON lines, and TensorBoard. A watcher each."""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from seqserve.training.errors import ConfigError
from seqserve.training.trainer.progress import ProgressListener, StepEvent, ValidationEvent


class JsonLog:
    """A line of JSON for every step and validation: ``event`` says which, the other keys are those of the event."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def on_step(self, event: StepEvent) -> None:
        """Write a step."""
        self._write("step", asdict(event))

    def on_validation(self, event: ValidationEvent) -> None:
        """Write a validation."""
        self._write("validation", asdict(event))

    def _write(self, kind: str, content: dict[str, Any]) -> None:
        self._file.write(json.dumps({"event": kind} | content) + "\n")
        self._file.flush()


class TensorBoardLog:
    """Scalars for TensorBoard: ``train/...`` for every step, ``validation/...`` for every validation."""

    def __init__(self, writer: Any) -> None:  # its package is optional
        self._writer = writer

    def on_step(self, event: StepEvent) -> None:
        """Write a step."""
        for name in ("loss", "gradient_norm", "learning_rate", "tokens_per_s"):
            self._writer.add_scalar(f"train/{name}", getattr(event, name), event.step)

    def on_validation(self, event: ValidationEvent) -> None:
        """Write a validation."""
        for name, value in event.metrics.items():
            self._writer.add_scalar(f"validation/{name}", value, event.step)


@contextmanager
def json_log(path: str) -> Generator[ProgressListener]:
    """Appends JSON lines to the file ``path``, or writes them to standard output if it's ``-``, for a ``with`` block.

    Raises: ConfigError if the file cannot be written.
    """
    if path == "-":
        yield JsonLog(sys.stdout)
        return
    try:
        file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115  # it is closed below
    except OSError as error:
        raise ConfigError(f"--log-json {path}: {error.strerror or error}") from error
    with file:
        yield JsonLog(file)


@contextmanager
def tensorboard_log(folder: Path) -> Generator[ProgressListener]:
    """TensorBoard's event files in ``folder``, for a ``with`` block.

    Raises: ConfigError if tensorboard is not installed, or the folder cannot be written.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # optional, and slow to import
    except ImportError as error:
        raise ConfigError("--tensorboard needs a package more: pip install 'seqserve[tensorboard]'") from error
    try:
        writer: Any = SummaryWriter(folder)
    except OSError as error:
        raise ConfigError(f"--tensorboard {folder}: {error.strerror or error}") from error
    try:
        yield TensorBoardLog(writer)
    finally:
        writer.close()
