"""Checkpoints: a trained network in one file, and a run in progress in another.

``best.pt`` contains everything needed to evaluate or export the best network. ``last.pt`` contains everything needed to
resume the run; its predecessor stays as ``previous.pt``, in case the newest is damaged. Files are written under a
temporary name and renamed, so a failed write doesn't damage the previous file.
"""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqserve.training.errors import CheckpointError

FORMAT_VERSION = 1
STATE_FILE = "last.pt"
PREVIOUS_STATE_FILE = "previous.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network.

    Attributes:
        task: name of the task, as on the command line.
        config: its whole configuration, as JSON.
        weights: the network's state_dict.
        tokenizer: content of tokenizer.json.
        labels: names of the labels by index; empty for language models.
        record: how it was trained, a TrainingRecord message as JSON.
        metrics: figures by name, on the validation data.
    """

    task: str
    config: str
    weights: dict[str, Tensor]
    tokenizer: str
    labels: tuple[str, ...]
    record: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class RunState:
    """A run in progress.

    Attributes:
        task: name of the task, as on the command line.
        config: its whole configuration, as JSON.
        data: digests of the data files.
        trainer: where it stands.
    """

    task: str
    config: str
    data: tuple[str, ...]
    trainer: dict[str, Any]


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of the one at ``path``, if there is one; the folder is made if it is not there.

    Raises: CheckpointError if it cannot be written; what was there before stays.
    """
    _write(path, asdict(checkpoint) | {"labels": list(checkpoint.labels)})


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; only tensors and plain values are accepted, no code.

    Raises: CheckpointError if it is not there, damaged, not a checkpoint, or of another format.
    """
    content = _read(path)
    if "trainer" in content:
        raise CheckpointError(f"{path}: where a run stands, for --resume; its best network is best.pt beside it")
    try:
        labels: list[str] = content.pop("labels")
        return Checkpoint(**content, labels=tuple(labels))
    except (KeyError, TypeError) as error:
        raise _not_a_checkpoint(path, error) from error


def save_state(folder: Path, state: RunState) -> None:
    """Write ``last.pt`` in the run's folder; the one that was there becomes ``previous.pt``.

    Raises: CheckpointError if it cannot be written; what was there before stays.
    """
    content = {"task": state.task, "config": state.config, "data": list(state.data), "trainer": state.trainer}
    _write(folder / STATE_FILE, content, before=folder / PREVIOUS_STATE_FILE)


def newest_state(folder: Path, notify: Callable[[str], None]) -> RunState:
    """Returns the newest undamaged state of the run in ``folder``; ``tell`` is called for a damaged one.

    Raises: CheckpointError if there is none.
    """
    for path in (folder / STATE_FILE, folder / PREVIOUS_STATE_FILE):
        if path.exists():
            try:
                content = _read(path)
                data: list[str] = content.pop("data")
                return RunState(**content, data=tuple(data))
            except (CheckpointError, KeyError, TypeError) as error:
                notify(f"{error}; trying the one before")
    raise CheckpointError(
        f"{folder}: no run to go on with: neither {STATE_FILE} nor {PREVIOUS_STATE_FILE} is there and good;"
        " name its folder with --run, or leave --resume out"
    )


def _write(path: Path, content: dict[str, Any], *, before: Path | None = None) -> None:
    """Writes ``path`` atomically; a previous file moves to ``before``, if given."""
    buffer = io.BytesIO()  # the writer of torch hides disk errors
    torch.save(content | {"format_version": FORMAT_VERSION}, buffer)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            if before is not None and path.exists():
                path.replace(before)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        reason = f"{path}: the checkpoint cannot be written: {error.strerror or error}"
        raise CheckpointError(f"{reason}; what was saved before is still there") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {what}; the checkpoint of a run is runs/NAME/best.pt")
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums that it writes
            if (damaged := archive.testzip()) is not None:
                raise CheckpointError(f"{path}: the checkpoint is damaged: {damaged} has the wrong checksum")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        version = content.pop("format_version")
    except (OSError, RuntimeError, EOFError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise _not_a_checkpoint(path, error) from error
    except zipfile.BadZipFile as error:
        raise _not_a_checkpoint(path, error) from error
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path}: format {version}, this version of seqserve reads {FORMAT_VERSION}")
    return content


def _not_a_checkpoint(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: not a checkpoint of seqserve-train: {error}")
