"""Two ways to call the server, behind one seam: grpc.aio as people use it, and HTTP/2 spoken by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import grpc
import grpc.aio

from benchmarks import http2
from benchmarks.http2 import Handler
from benchmarks.messages import METHOD

KINDS = ("http2", "grpc")


class Wire(Protocol):
    """Connections to one server."""

    def start(self, request: bytes, handler: Handler) -> Callable[[], None]:
        """Begin a call. Returns: what cancels it."""

    async def close(self) -> None:
        """Cancel what runs and disconnect."""


class Http2Wire:
    """HTTP/2 spoken by hand; calls take turns over the connections."""

    def __init__(self, connections: list[http2.Connection]) -> None:
        self._connections = connections
        self._calls = 0

    def start(self, request: bytes, handler: Handler) -> Callable[[], None]:
        """As Wire."""
        self._calls += 1
        return self._connections[self._calls % len(self._connections)].start(request, handler)

    def open(self, handler: Handler) -> http2.Sender:
        """Begin a call that sends messages while it runs."""
        self._calls += 1
        return self._connections[self._calls % len(self._connections)].open(handler)

    async def close(self) -> None:
        """As Wire."""
        for connection in self._connections:
            connection.close()
        await asyncio.sleep(0)


class GrpcWire:
    """grpc.aio; a task a call, messages left as bytes."""

    def __init__(self, target: str, connections: int) -> None:
        # Without pools of their own, channels to one address would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [grpc.aio.insecure_channel(target, options) for _ in range(connections)]
        self._methods: list[grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = [
            channel.unary_stream(METHOD) for channel in self._channels
        ]
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0

    def start(self, request: bytes, handler: Handler) -> Callable[[], None]:
        """As Wire."""
        self._calls += 1
        call = self._methods[self._calls % len(self._methods)](request)
        task = asyncio.create_task(_read(call, handler))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return lambda: _cancel(call, task)

    async def close(self) -> None:
        """As Wire."""
        for channel in self._channels:
            await channel.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def connect(kind: str, target: str, connections: int) -> Wire:
    """Open connections to a server at HOST:PORT."""
    if kind == "grpc":
        return GrpcWire(target, connections)
    return await connect_http2(target, connections, METHOD)


async def connect_http2(target: str, connections: int, method: str) -> Http2Wire:
    """Open connections to a server at HOST:PORT for calls of one method, HTTP/2 spoken by hand."""
    return Http2Wire([await http2.connect(target, method) for _ in range(connections)])


async def _read(call: grpc.aio.UnaryStreamCall[bytes, bytes], handler: Handler) -> None:
    try:
        while isinstance(message := await call.read(), bytes):  # not EOF
            handler.message(message, time.perf_counter())
        code = grpc.StatusCode.OK
    except grpc.aio.AioRpcError as error:
        code = error.code()
    handler.ended(code.value[0], time.perf_counter())


def _cancel(call: grpc.aio.UnaryStreamCall[bytes, bytes], task: asyncio.Task[None]) -> None:
    task.cancel()
    call.cancel()
