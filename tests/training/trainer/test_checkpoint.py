import resource
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from seqserve.training.errors import CheckpointError
from seqserve.training.trainer import checkpoint as checkpoints
from seqserve.training.trainer.checkpoint import Checkpoint, RunState


def a_checkpoint(loss: float = 1.0) -> Checkpoint:
    weights = {"head": torch.arange(3.0)}
    return Checkpoint("lm", '{"seed": 1}', weights, "{}", ("A", "B"), "{}", {"loss": loss})


def a_state(step: int) -> RunState:
    return RunState("lm", "{}", ("digest",), {"step": step, "weights": torch.zeros(1000)})


def newest_step(folder: Path, reported: list[str] | None = None) -> int:
    state = checkpoints.newest_state(folder, ([] if reported is None else reported).append)
    return int(state.trainer["step"])


def damage(path: Path) -> None:
    """One bit of a weight, as a failing disk would have it."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    content[largest.header_offset + 1000] ^= 1
    path.write_bytes(content)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run" / "best.pt"
    checkpoints.save(path, a_checkpoint())
    loaded = checkpoints.load(path)
    assert loaded.weights["head"].tolist() == [0.0, 1.0, 2.0]
    assert (loaded.task, loaded.config, loaded.labels, loaded.metrics) == ("lm", '{"seed": 1}', ("A", "B"), {"loss": 1})
    assert [file.name for file in path.parent.iterdir()] == ["best.pt"]


@contextmanager
def files_of_at_most(size_bytes: int) -> Generator[None]:
    """What a full disk does: the operating system refuses to write on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_old_checkpoint_stays_when_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    checkpoints.save(path, a_checkpoint(loss=1.0))
    message = r"best\.pt: the checkpoint cannot be written: File too large; what was saved before is still there"
    with files_of_at_most(100), pytest.raises(CheckpointError, match=message):
        checkpoints.save(path, a_checkpoint(loss=0.5))
    assert checkpoints.load(path).metrics == {"loss": 1.0}
    assert [file.name for file in tmp_path.iterdir()] == ["best.pt"]


def test_the_old_state_stays_when_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    checkpoints.save_state(tmp_path, a_state(1))
    with files_of_at_most(100), pytest.raises(CheckpointError, match=r"last\.pt: the checkpoint cannot be written"):
        checkpoints.save_state(tmp_path, a_state(2))
    assert newest_step(tmp_path) == 1


def test_the_newest_good_state_is_found(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no run to go on with: neither last\.pt nor previous\.pt is there"):
        newest_step(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save_state(tmp_path, a_state(step))
        assert newest_step(tmp_path) == step
    reported = list[str]()
    damage(tmp_path / "last.pt")
    assert newest_step(tmp_path, reported) == 2
    assert len(reported) == 1
    assert "last.pt: the checkpoint is damaged" in reported[0]
    (tmp_path / "previous.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no run to go on with"):
        newest_step(tmp_path)


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    checkpoints.save_state(tmp_path, a_state(1))
    (tmp_path / "last.pt").rename(tmp_path / "previous.pt")
    assert newest_step(tmp_path) == 1


def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint", encoding="utf-8")
    torch.save({"other": 1}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt"):
        with pytest.raises(CheckpointError, match=rf"{name}: not a checkpoint of seqserve-train"):
            checkpoints.load(tmp_path / name)


def test_another_format_is_named(tmp_path: Path) -> None:
    torch.save({"format_version": 99}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match=r"new\.pt: format 99, this version of seqserve reads 1"):
        checkpoints.load(tmp_path / "new.pt")
