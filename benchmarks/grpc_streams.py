"""Streams that both sides feed, by grpc.aio as people use it: the other wire of `benchmarks.round_trips`."""

from __future__ import annotations

import asyncio
import time

import grpc
import grpc.aio

from benchmarks.http2 import Handler

Call = grpc.aio.StreamStreamCall[bytes, bytes]


class GrpcSender:
    """The sending side of a call; what it is given goes out before the next answer is waited for."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._ends = False

    def send(self, message: bytes, *, ends: bool = False) -> None:
        """Send a message; with ``ends`` it is the last."""
        self._messages.append(message)
        self._ends = ends

    async def flush(self, call: Call) -> None:
        """Let out what was given."""
        messages, self._messages = self._messages, []
        for message in messages:
            await call.write(message)
        if messages and self._ends:
            await call.done_writing()


class GrpcStreams:
    """Channels to one server, for calls of one method; a task a call, messages left as bytes."""

    def __init__(self, target: str, connections: int, method: str) -> None:
        # Without pools of their own, channels to one address would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [grpc.aio.insecure_channel(target, options) for _ in range(connections)]
        self._methods: list[grpc.aio.StreamStreamMultiCallable[bytes, bytes]] = [
            channel.stream_stream(method) for channel in self._channels
        ]
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0

    def open(self, handler: Handler) -> GrpcSender:
        """Begin a call that sends messages while it runs."""
        self._calls += 1
        sender = GrpcSender()
        call = self._methods[self._calls % len(self._methods)]()
        task = asyncio.create_task(_converse(call, sender, handler))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return sender

    async def close(self) -> None:
        """Cancel what runs and disconnect."""
        for channel in self._channels:
            await channel.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _converse(call: Call, sender: GrpcSender, handler: Handler) -> None:
    try:
        await sender.flush(call)
        while isinstance(message := await call.read(), bytes):  # not EOF
            handler.message(message, time.perf_counter())
            await sender.flush(call)
        code = grpc.StatusCode.OK
    except grpc.aio.AioRpcError as error:
        code = error.code()
    handler.ended(code.value[0], time.perf_counter())
