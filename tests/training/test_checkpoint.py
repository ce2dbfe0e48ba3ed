from pathlib import Path

import pytest
import torch

from seqserve.training import checkpoint as checkpoints
from seqserve.training.checkpoint import Checkpoint
from seqserve.training.errors import CheckpointError


def a_checkpoint(loss: float = 1.0) -> Checkpoint:
    weights = {"head": torch.arange(3.0)}
    return Checkpoint("lm", '{"seed": 1}', weights, "{}", ("A", "B"), "{}", {"loss": loss})


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run" / "best.pt"
    checkpoints.save(path, a_checkpoint())
    loaded = checkpoints.load(path)
    assert loaded.weights["head"].tolist() == [0.0, 1.0, 2.0]
    assert (loaded.task, loaded.config, loaded.labels, loaded.metrics) == ("lm", '{"seed": 1}', ("A", "B"), {"loss": 1})
    assert [file.name for file in path.parent.iterdir()] == ["best.pt"]


def test_the_old_checkpoint_stays_when_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.pt"
    checkpoints.save(path, a_checkpoint(loss=1.0))

    def full_disk(content: object, file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(CheckpointError, match="cannot be written: No space left"):
        checkpoints.save(path, a_checkpoint(loss=0.5))
    assert checkpoints.load(path).metrics == {"loss": 1.0}


def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint", encoding="utf-8")
    torch.save({"other": 1}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt", "missing.pt"):
        with pytest.raises(CheckpointError, match=rf"{name}: not a checkpoint of seqserve-train"):
            checkpoints.load(tmp_path / name)


def test_another_format_is_named(tmp_path: Path) -> None:
    torch.save({"format_version": 99}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match=r"new\.pt: format 99, this version of seqserve reads 1"):
        checkpoints.load(tmp_path / "new.pt")
