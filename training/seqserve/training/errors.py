"""Errors of training. Every message states the fault, its place, and the expected value.

TrainingError
 +-- ConfigError       a setting is missing, unknown or out of range
 +-- DataError         a data file cannot be used; names the file and, where there is one, the line
 +-- DivergenceError   the loss is no longer a number
 +-- InterruptedRunError   the run was asked to stop, and can go on
 +-- CheckpointError   a checkpoint cannot be read or written
 +-- ExportError       a graph differs from the network it was made of, or a servable cannot be written
"""

import signal
from pathlib import Path


class TrainingError(Exception):
    """Base of all errors that training raises on purpose."""


class ConfigError(TrainingError):
    """A setting is missing, unknown or out of range."""


class DataError(TrainingError):
    """A data file cannot be used."""

    def __init__(self, path: Path, message: str, *, line: int | None = None) -> None:
        """Creates the error for ``path`` and, if one line is at fault, its number ``line`` from 1."""
        super().__init__(f"{path}: {message}" if line is None else f"{path}, line {line}: {message}")
        self.path = path
        self.line = line


class DivergenceError(TrainingError):
    """The loss is no longer a number; the best checkpoint so far is kept."""


class InterruptedRunError(TrainingError):
    """A signal stopped the run. Its state is saved, and --resume continues from there."""

    def __init__(self, step: int, stop_signal: signal.Signals) -> None:
        """Say after which step the run stopped, and at whose request."""
        super().__init__(
            f"stopped by {stop_signal.name} after step {step}; the same command with --resume continues it"
        )
        self.step = step
        self.stop_signal = stop_signal


class CheckpointError(TrainingError):
    """A checkpoint cannot be read or written."""


class ExportError(TrainingError):
    """A graph differs from the network it was made of, or a servable cannot be written."""
