"""The minimal HTTP/2 client against a real gRPC server: messages of any size arrive in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from benchmarks.loadgen import http2

METHOD = "/bench.Test/Stream"
OK, ABORTED, UNIMPLEMENTED = 0, 10, 12


class CallLog:
    """Records the events of a call."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.status = asyncio.get_running_loop().create_future()
        self._more = asyncio.Event()

    def message(self, payload: bytes, now_s: float) -> None:  # noqa: ARG002 - as every handler
        self.messages.append(payload)
        self._more.set()

    def ended(self, status: int, now_s: float) -> None:  # noqa: ARG002
        self.status.set_result(status)

    async def until(self, count: int) -> None:
        """Waits for ``count`` messages."""
        while len(self.messages) < count:
            self._more.clear()
            await self._more.wait()


class Server:
    """Answers each message with itself; "hold" stops the reading until it is let go, "fail" ends the call."""

    def __init__(self) -> None:
        self.address = ""
        self.go_on = asyncio.Event()
        self.holding = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)])

    async def start(self) -> None:
        handler: Any = grpc.stream_stream_rpc_method_handler(self._answer)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("bench.Test", {"Stream": handler}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def _answer(self, messages: AsyncIterator[bytes], context: Any) -> None:
        try:
            async for message in messages:
                if message == b"hold":
                    self.holding.set()
                    await self.go_on.wait()
                if message == b"fail":
                    await context.abort(grpc.StatusCode.ABORTED, "requested")
                await context.write(message)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def connection(server: Server) -> AsyncIterator[http2.Connection]:
    connection = await http2.connect(server.address, METHOD)
    yield connection
    connection.close()
    await asyncio.sleep(0)


async def test_messages_go_back_and_forth_on_open_streams(connection: http2.Connection) -> None:
    log = [CallLog() for _ in range(5)]
    senders = [connection.open(one) for one in log]
    for turn in range(1, 20):
        for index, sender in enumerate(senders):
            sender.send(f"{index} {turn}".encode())
        for one in log:
            await one.until(turn)
    for index, (sender, one) in enumerate(zip(senders, log, strict=True)):
        sender.send(b"last", ends=True)
        assert await one.status == OK
        assert one.messages == [*(f"{index} {turn}".encode() for turn in range(1, 20)), b"last"]


@pytest.mark.parametrize("size", [0, 16_379, 16_380, 65_530, 65_531, 3_000_000])
async def test_a_message_of_any_size_comes_back_whole(connection: http2.Connection, size: int) -> None:
    """At and beyond the size of a frame, and of a window."""
    log, message = CallLog(), bytes(range(256)) * (size // 256) + bytes(size % 256)
    connection.start(message, log)
    assert await log.status == OK
    assert log.messages == [message]


async def test_a_server_that_does_not_read_makes_what_is_sent_wait_and_harms_no_neighbour(
    server: Server, connection: http2.Connection
) -> None:
    held, other = CallLog(), CallLog()
    slow, quick = connection.open(held), connection.open(other)
    slow.send(b"hold")
    sent = [bytes([index % 256]) * 50_000 for index in range(200)]  # 10 MB, far more than a window
    for message in sent:
        slow.send(message)
    quick.send(b"still here", ends=True)
    assert await other.status == OK
    assert other.messages == [b"still here"]
    assert held.messages == []
    server.go_on.set()
    slow.send(b"end", ends=True)
    assert await held.status == OK
    assert held.messages == [b"hold", *sent, b"end"]


async def test_a_call_that_has_ended_sends_nothing_more(connection: http2.Connection) -> None:
    log, other = CallLog(), CallLog()
    sender = connection.open(log)
    sender.send(b"fail")
    assert await log.status == ABORTED
    sender.send(b"too late")
    sender.cancel()
    connection.start(b"the connection lives", other)
    assert await other.status == OK


async def test_a_cancel_reaches_the_server_and_nothing_arrives_after_it(
    server: Server, connection: http2.Connection
) -> None:
    log, other = CallLog(), CallLog()
    sender = connection.open(log)
    sender.send(b"one")
    await log.until(1)
    sender.send(b"hold")
    await server.holding.wait()
    sender.cancel()
    await server.cancelled.wait()
    connection.start(b"next", other)
    assert await other.status == OK
    assert log.messages == [b"one"]
    assert not log.status.done()


async def test_a_method_that_is_not_there_is_a_status(server: Server) -> None:
    connection, log = await http2.connect(server.address, "/bench.Test/Other"), CallLog()
    connection.start(b"", log)
    assert await log.status == UNIMPLEMENTED
    connection.close()
    await asyncio.sleep(0)
