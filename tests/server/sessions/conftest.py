"""What the tests of sessions share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.sessions.rig import Rooms, rooms


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two language models, `lstm` and `gru`. Made once and shared: do not change it, copy it."""
    from seqserve.training.config import CellKind  # torch takes seconds to import: only those who need it wait
    from tests.servables import make_language_model

    root = tmp_path_factory.mktemp("models")
    make_language_model(root / "lstm")
    make_language_model(root / "gru", cell=CellKind.GRU, layers=1, seed=1)
    return root


@pytest.fixture(scope="session")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a model of each kind that has sessions: `lstm`, `tagger`, `chain` (with a CRF), `classifier`;
    and with `speller`, which reads more than tokens, and `both`, which reads in both directions. As `models`.
    """
    from tests.servables import make_classifier, make_language_model, make_tagger  # torch takes seconds to import

    root = tmp_path_factory.mktemp("tasks")
    make_language_model(root / "lstm")
    make_tagger(root / "tagger", bidirectional=False, spelling=False)
    make_tagger(root / "chain", bidirectional=False, spelling=False, crf=True)
    make_classifier(root / "classifier", bidirectional=False, pooling="mean")
    make_tagger(root / "speller", bidirectional=False)
    make_tagger(root / "both")
    return root


@pytest.fixture
def at(models: Path) -> Iterator[Rooms]:
    """Rooms with default settings."""
    with rooms(models) as made:
        yield made
