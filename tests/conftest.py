"""What tests of all parts share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.processes.redis_server import redis_program, redis_server

if TYPE_CHECKING:
    from tests.servables import MadeLanguageModel, MadeTagger

ROOT = Path(__file__).parent.parent

# On a busy machine an example may take long; in CI what failed once has to fail again.
hypothesis.settings.register_profile("seqserve", deadline=None, derandomize=os.environ.get("CI") == "true")
hypothesis.settings.load_profile("seqserve")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The data sets, in SEQSERVE_DATA or beside the repository; without them the test is skipped, in CI it fails."""
    folder = Path(os.environ.get("SEQSERVE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        reason = f"no data sets in {folder}: set SEQSERVE_DATA to the folder that holds them"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis that tests share, so empty it first; without redis-server the test is skipped, in CI it fails."""
    if redis_program() is None:
        reason = "redis-server is not installed; on Debian and Ubuntu: apt-get install redis-server"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with redis_server() as url:
        yield url


@dataclass(frozen=True)
class MadeRepository:
    """A model repository with small servables of random weights: models `lstm`, `gru` and `tagger`, version 1 each."""

    root: Path
    lstm: MadeLanguageModel
    gru: MadeLanguageModel
    tagger: MadeTagger


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeRepository:
    """Made once and shared: do not change it, copy it."""
    from seqserve.training.config import CellKind  # torch takes seconds to import: only those who need it wait
    from tests.servables import make_language_model, make_tagger

    root = tmp_path_factory.mktemp("models")
    return MadeRepository(
        root,
        make_language_model(root / "lstm"),
        make_language_model(root / "gru", cell=CellKind.GRU, layers=1, seed=1),
        make_tagger(root / "tagger"),
    )
