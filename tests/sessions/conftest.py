"""What the tests of sessions share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sessions.rig import Rooms, rooms


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two language models, `lstm` and `gru`. Made once and shared: do not change it, copy it."""
    from seqserve.training.config import CellKind  # torch takes seconds to import: only those who need it wait
    from tests.servables import make_language_model

    root = tmp_path_factory.mktemp("models")
    make_language_model(root / "lstm")
    make_language_model(root / "gru", cell=CellKind.GRU, layers=1, seed=1)
    return root


@pytest.fixture
def at(models: Path) -> Iterator[Rooms]:
    """Rooms with default settings."""
    with rooms(models) as made:
        yield made
