"""A scripted server for each test, and clients of it: blocking with the server in a thread, asyncio beside it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from seqserve.client import AsyncClient, Client
from seqserve.client.__main__ import main
from seqserve.client.testing import ScriptedServer
from tests.client.rig import Run


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(server.target, timeout_s=30.0, resume_s=0.0) as open_client:
        yield open_client


@pytest.fixture
async def async_server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def async_client(async_server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(async_server.target, timeout_s=30.0, resume_s=0.0) as open_client:
        yield open_client


@pytest.fixture
def run(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command against the scripted server, which it finds by the environment."""
    monkeypatch.setenv("SEQSERVE_SERVER", server.target)
    return lambda *arguments: main(arguments)
