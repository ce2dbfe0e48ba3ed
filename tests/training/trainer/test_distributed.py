"""Two processes that torchrun starts train what one would, with half of the rows of every batch each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from seqserve.training.data.share import Share
from seqserve.training.trainer import checkpoint as checkpoints
from seqserve.training.trainer.distributed import ALONE, no_loss

TOLERANCE = 1e-5
"""Sums over rows are added up in another order; nothing else differs."""
WORDS = {"dogs": "NOUN", "cats": "NOUN", "see": "VERB", "chase": "VERB", "the": "DET"}
SMALL = ["--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--dropout", "0", "--threads", "1"]
LM = ["lm", "--data", "text.txt", "--window", "16", "--state-reset", "0"]
TAGGER = ["tagger", "--data", "train.conllu", "--validation", "train.conllu", "--count-min", "1", "--word-dropout", "0"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "seqserve.training"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 12, encoding="utf-8")
    sentences = [sentence(a, b, "dogs") for a in WORDS for b in WORDS]  # 25: the last batch of an epoch has 1
    (tmp_path / "train.conllu").write_text("\n".join(sentences), encoding="utf-8")
    return tmp_path


def sentence(*words: str) -> str:
    lines = [f"{i}\t{w}\t_\t{WORDS[w]}\t_\t_\t0\troot\t_\t_" for i, w in enumerate(words, start=1)]
    return "\n".join([f"# text = {' '.join(words)}", *lines, ""])


def command(folder: Path, launch: list[str], task: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    name = "two" if launch is TORCHRUN else "one"
    arguments = [*launch, *task, *SMALL, "--device", "cpu", "--out", f"models/{name}", *more]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = checkpoints.newest_state(folder / "runs" / name, print).trainer["network"]
    return found


@pytest.mark.parametrize("task", [LM, TAGGER], ids=["lm", "tagger"])
def test_two_processes_equal_one(folder: Path, task: list[str]) -> None:
    one = command(folder, ["-m", "seqserve.training"], task, "--epochs", "2")
    two = command(folder, TORCHRUN, task, "--epochs", "2")
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert two.stdout == "wrote models/two/1\n"  # by the first process alone
    alone, together = weights(folder, "one"), weights(folder, "two")
    distance = {name: float((alone[name] - together[name]).abs().max()) for name in alone}
    assert max(distance.values()) < TOLERANCE, distance


def test_two_processes_go_on_where_they_stopped_and_one_cannot(folder: Path) -> None:
    # a constant rate, so that a longer run begins as a shorter one does
    settings = ["--schedule", "constant", "--warmup", "0", "--dropout", "0.3"]
    assert command(folder, TORCHRUN, LM, *settings, "--epochs", "2").returncode == 0
    whole = weights(folder, "two")
    assert command(folder, TORCHRUN, LM, *settings, "--epochs", "1").returncode == 0
    assert command(folder, TORCHRUN, LM, *settings, "--epochs", "2", "--resume").returncode == 0
    assert all(torch.equal(weight, weights(folder, "two")[name]) for name, weight in whole.items())
    alone = command(
        folder, ["-m", "seqserve.training"], LM, *settings, "--epochs", "2", "--resume", "--run", "runs/two"
    )
    assert alone.returncode == 1
    assert "the run was saved by 2 processes and cannot go on with 1" in alone.stderr


def test_more_processes_than_rows_are_refused(folder: Path) -> None:
    result = command(folder, TORCHRUN, LM, "--epochs", "1", "--batch-size", "1")
    assert result.returncode == 1
    assert "2 processes cannot share batches of 1: give a greater --batch-size" in result.stderr


def test_a_share_without_rows_has_a_loss_of_nothing() -> None:
    network = nn.Linear(2, 3)
    loss = no_loss(network)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert [parameter.grad is not None and not parameter.grad.any() for parameter in network.parameters()] == [True] * 2


def test_one_process_is_its_own_first() -> None:
    assert ALONE.first
    assert ALONE.summed(1.0, 2.0) == (1.0, 2.0)
    assert ALONE.gathered("a") == ["a"]
    assert ALONE.run_on_first(lambda: 3) == 3
    assert list(range(5))[Share(1, 2).rows] == [1, 3]
