"""Two ways to call the server, behind one seam: grpc.aio as people use it, and HTTP/2 spoken by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import grpc.aio

from benchmarks.loadgen import http2
from benchmarks.loadgen.grpc_calls import GrpcCalls
from benchmarks.loadgen.http2 import Handler
from benchmarks.loadgen.messages import METHOD

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


class GrpcWire(GrpcCalls):
    """grpc.aio; messages left as bytes."""

    def __init__(self, address: str, connections: int) -> None:
        super().__init__(address, connections)
        self._methods: list[grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = [
            channel.unary_stream(METHOD) for channel in self.channels
        ]

    def start(self, request: bytes, handler: Handler) -> Callable[[], None]:
        """As Wire."""
        call = self.next_of(self._methods)(request)
        task = self.run(_read(call, handler), handler)
        return lambda: _cancel(call, task)


async def connect(kind: str, address: str, connections: int) -> Wire:
    """Open connections to a server at HOST:PORT."""
    if kind == "grpc":
        return GrpcWire(address, connections)
    return await connect_http2(address, connections, METHOD)


async def connect_http2(address: str, connections: int, method: str) -> Http2Wire:
    """Open connections to a server at HOST:PORT for calls of one method, HTTP/2 spoken by hand."""
    return Http2Wire([await http2.connect(address, method) for _ in range(connections)])


async def _read(call: grpc.aio.UnaryStreamCall[bytes, bytes], handler: Handler) -> None:
    while isinstance(message := await call.read(), bytes):  # not EOF
        handler.message(message, time.perf_counter())


def _cancel(call: grpc.aio.UnaryStreamCall[bytes, bytes], task: asyncio.Task[None]) -> None:
    task.cancel()
    call.cancel()
