"""Models for the engine's tests: one for each cell that training exports, with one and two layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.engine.rig import LoadedModel

Load = Callable[..., LoadedModel]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Loads a small language model of random weights, of a cell or "<cell> int8"; the files of each are made once."""
    from seqserve.server.model.manifest import read_manifest
    from seqserve.server.model.servable import Servable, ServableId
    from seqserve.server.settings import RuntimeSettings
    from seqserve.server.text.detokenization import token_bytes
    from seqserve.server.text.tokenization import Tokenization
    from seqserve.training.config import CellKind  # torch takes seconds to import: only those who need it wait
    from seqserve.training.config.optimisation import Precision
    from tests.servables import make_language_model

    root = tmp_path_factory.mktemp("engine")
    folders: dict[tuple[str, int, int], Path] = {}
    loaded: dict[tuple[str, int, int, int], LoadedModel] = {}

    def load_model(cell: str = "lstm", layers: int = 1, hidden_size: int = 16, threads: int = 1) -> LoadedModel:
        made, key = (cell, layers, hidden_size), (cell, layers, hidden_size, threads)
        if made not in folders:
            name = f"{cell}-{layers}-{hidden_size}"
            kind, _, precision = cell.partition(" ")
            folders[made] = make_language_model(
                root / name.replace(" ", "-"),
                cell=CellKind(kind),
                layers=layers,
                hidden_size=hidden_size,
                precision=Precision(precision or Precision.FP32),
            ).folder
        if key not in loaded:
            folder = folders[made]
            manifest = read_manifest(folder)
            identity = ServableId(cell, layers, manifest.graph.sha256)
            servable = Servable(identity, manifest, folder, RuntimeSettings(provider="cpu", threads=threads))
            tokenization = Tokenization(manifest, folder)
            loaded[key] = LoadedModel(servable, token_bytes(tokenization.tokenizer), tokenization)
        return loaded[key]

    return load_model


@pytest.fixture(scope="session")
def tiny(load: Load) -> LoadedModel:
    """One small model, where it does not matter which."""
    return load("lstm", 1, 8)
