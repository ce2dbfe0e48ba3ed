"""Two clients behind one interface: grpc.aio as applications use it, and a minimal HTTP/2 client."""

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
        """Starts a call. Returns a function that cancels it."""

    async def close(self) -> None:
        """Cancels running calls and disconnects."""


class Http2Wire:
    """The minimal HTTP/2 client; calls alternate between the connections."""

    def __init__(self, connections: list[http2.Connection]) -> None:
        self._connections = connections
        self._calls = 0

    def start(self, request: bytes, handler: Handler) -> Callable[[], None]:
        """See Wire."""
        self._calls += 1
        return self._connections[self._calls % len(self._connections)].start(request, handler)

    def open(self, handler: Handler) -> http2.Sender:
        """Starts a call that sends messages while it runs."""
        self._calls += 1
        return self._connections[self._calls % len(self._connections)].open(handler)

    async def close(self) -> None:
        """See Wire."""
        for connection in self._connections:
            connection.close()
        await asyncio.sleep(0)


class GrpcWire(GrpcCalls):
    """grpc.aio without parsing: messages are bytes."""

    def __init__(self, address: str, connections: int) -> None:
        super().__init__(address, connections)
        self._methods: list[grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = [
            channel.unary_stream(METHOD) for channel in self.channels
        ]

    def start(self, request: bytes, handler: Handler) -> Callable[[], None]:
        """See Wire."""
        call = self.next_of(self._methods)(request)
        task = self.run(_read(call, handler), handler)
        return lambda: _cancel(call, task)


async def connect(kind: str, address: str, connections: int) -> Wire:
    """Opens connections to the server at ``address``, HOST:PORT."""
    if kind == "grpc":
        return GrpcWire(address, connections)
    return await connect_http2(address, connections, METHOD)


async def connect_http2(address: str, connections: int, method: str) -> Http2Wire:
    """Opens HTTP/2 connections to the server at ``address``, HOST:PORT, for calls of one method."""
    return Http2Wire([await http2.connect(address, method) for _ in range(connections)])


async def _read(call: grpc.aio.UnaryStreamCall[bytes, bytes], handler: Handler) -> None:
    while isinstance(message := await call.read(), bytes):  # not EOF
        handler.message(message, time.perf_counter())


def _cancel(call: grpc.aio.UnaryStreamCall[bytes, bytes], task: asyncio.Task[None]) -> None:
    task.cancel()
    call.cancel()
