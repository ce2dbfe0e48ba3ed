"""Bidirectional streams with grpc.aio as applications use it: the second client of `loadgen.round_trips`."""

from __future__ import annotations

import time

import grpc.aio

from benchmarks.loadgen.grpc_calls import GrpcCalls
from benchmarks.loadgen.http2 import Handler

Call = grpc.aio.StreamStreamCall[bytes, bytes]


class GrpcSender:
    """The sending side of a call; queued messages are written before the next answer is awaited."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._ends = False

    def send(self, message: bytes, *, ends: bool = False) -> None:
        """Queues a message; with ``ends`` it is the last."""
        self._messages.append(message)
        self._ends = ends

    async def flush(self, call: Call) -> None:
        """Writes the queued messages."""
        messages, self._messages = self._messages, []
        for message in messages:
            await call.write(message)
        if messages and self._ends:
            await call.done_writing()


class GrpcStreams(GrpcCalls):
    """Calls of one method on one server; messages are bytes."""

    def __init__(self, address: str, connections: int, method: str) -> None:
        super().__init__(address, connections)
        self._methods: list[grpc.aio.StreamStreamMultiCallable[bytes, bytes]] = [
            channel.stream_stream(method) for channel in self.channels
        ]

    def open(self, handler: Handler) -> GrpcSender:
        """Starts a call that sends messages while it runs."""
        sender = GrpcSender()
        self.run(_converse(self.next_of(self._methods)(), sender, handler), handler)
        return sender


async def _converse(call: Call, sender: GrpcSender, handler: Handler) -> None:
    await sender.flush(call)
    while isinstance(message := await call.read(), bytes):  # not EOF
        handler.message(message, time.perf_counter())
        await sender.flush(call)
