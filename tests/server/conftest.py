"""What the tests of the server's rooms share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from tests.conftest import MadeRepository


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the one who runs the tests are no settings of the servers in them."""
    for name in list(os.environ):
        if name.upper().startswith("SEQSERVE_"):
            monkeypatch.delenv(name)


@pytest.fixture
async def channel(made: MadeRepository) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a real server, with default settings, over the shared repository."""
    async with running_server(made.root) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty model repository of the test's own."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder
