"""Checkpoints: all that is needed to evaluate or export a trained network, in one file.

A file is written under a temporary name and renamed, so the best checkpoint survives whatever happens to the next one.
"""

import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqserve.training.errors import CheckpointError

FORMAT_VERSION = 1


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


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of the one at ``path``, if there is one; the folder is made if it is not there.

    Raises: CheckpointError if it cannot be written; what was there before stays.
    """
    content = asdict(checkpoint) | {"format_version": FORMAT_VERSION, "labels": list(checkpoint.labels)}
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be written: {error.strerror or error}") from error


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; only tensors and plain values are accepted, no code.

    Raises: CheckpointError if it is not there, not a checkpoint, or of another format.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        version = content.pop("format_version")
        if version != FORMAT_VERSION:
            raise CheckpointError(f"{path}: format {version}, this version of seqserve reads {FORMAT_VERSION}")
        labels: list[str] = content.pop("labels")
        return Checkpoint(**content, labels=tuple(labels))
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of seqserve-train: {error}") from error
