"""Addresses that a server listens on, and connections that nobody is behind any more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.api.listening import connection_options
from seqserve.server.settings import ConnectionSettings
from seqserve.server.testing import running_server
from seqserve.v1 import state_pb2
from tests.server.api.generation.scoring import Scoring

WAIT_S = 20.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.servables import make_language_model  # torch takes seconds to import

    root = tmp_path_factory.mktemp("listening")
    make_language_model(root / "lm", layers=1, hidden_size=16)
    return root


async def test_a_name_is_listened_on_at_all_its_addresses(models: Path) -> None:
    """A server on 127.0.0.1 has the port; gRPC would listen on ::1 alone, and callers would reach either."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: is the port taken\?"):
            async with running_server(models, listen=f"localhost:{port}"):
                pass
    async with running_server(models, listen=f"localhost:{port}") as address:
        assert address == f"localhost:{port}"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(WAIT_S):
            await channel.channel_ready()


async def test_a_name_without_an_address_is_a_clear_error(models: Path) -> None:
    with pytest.raises(OSError, match=r"cannot listen on no-such-host\.invalid: the name has no address"):
        async with running_server(models, listen="no-such-host.invalid:50051"):
            pass


class Network:
    """Carries bytes between a caller and a server until it is cut: then neither hears anything, not even an end."""

    def __init__(self, server: str) -> None:
        self._host, _, self._port = server.rpartition(":")
        self._open = asyncio.Event()
        self._open.set()

    def cut(self) -> None:
        self._open.clear()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._host, int(self._port))
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(reader, server_writer))
                both.create_task(self._carry(server_reader, writer))
        finally:
            writer.close()
            server_writer.close()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            await self._open.wait()
            target.write(data)
            await target.drain()
        await self._open.wait()


@asynccontextmanager
async def network(server: str) -> AsyncIterator[tuple[Network, str]]:
    between = Network(server)
    listener = await asyncio.start_server(between.connect, "127.0.0.1", 0)
    try:
        yield between, f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()


async def test_a_caller_whose_network_dies_leaves_its_session(models: Path) -> None:
    connections = {"keepalive_s": 0.5, "keepalive_timeout_s": 0.5}
    async with (
        asyncio.timeout(WAIT_S),
        running_server(models, connections=connections) as server,
        network(server) as (between, address),
        grpc.aio.insecure_channel(address) as dead,
        grpc.aio.insecure_channel(server) as alive,
    ):
        options = state_pb2.StateOptions(session_id="s", create_if_absent=True)
        lost = Scoring(dead, "lm", state=options)
        await lost.begin()
        between.cut()
        options.busy_policy = state_pb2.BUSY_POLICY_WAIT
        next_one = Scoring(alive, "lm", state=options)
        await next_one.begin()  # waits for the session
        next_one.call.cancel()
        lost.call.cancel()


def test_options_are_in_milliseconds_and_those_that_are_off_are_left_out() -> None:
    options = dict(connection_options(ConnectionSettings()))
    assert options["grpc.http2.min_ping_interval_without_data_ms"] == 10_000, "Go's callers ping every 10 s"
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.max_concurrent_streams"] == 4096
    assert "grpc.max_connection_age_ms" not in options
    options = dict(connection_options(ConnectionSettings(keepalive_s=0, age_max_s=60, idle_max_s=1.5)))
    assert "grpc.keepalive_time_ms" not in options
    assert (options["grpc.max_connection_age_ms"], options["grpc.max_connection_idle_ms"]) == (60_000, 1500)
