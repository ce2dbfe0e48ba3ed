"""What calls by grpc.aio have in common, whatever goes over them: channels that take turns, and a task a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import TypeVar

import grpc
import grpc.aio

from benchmarks.loadgen.http2 import Handler

MethodT = TypeVar("MethodT")


class GrpcCalls:
    """Channels to one server, and the calls that run."""

    def __init__(self, address: str, connections: int) -> None:
        # Without pools of their own, channels to one address would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channels = [grpc.aio.insecure_channel(address, options) for _ in range(connections)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0

    def next_of(self, methods: Sequence[MethodT]) -> MethodT:
        """The method of the channel whose turn it is. Args: methods: one of each channel."""
        self._calls += 1
        return methods[self._calls % len(methods)]

    def run(self, conversation: Coroutine[None, None, None], handler: Handler) -> asyncio.Task[None]:
        """Run a call to its end, and tell the handler how it ended."""
        task = asyncio.create_task(_to_its_end(conversation, handler))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancel what runs and disconnect."""
        for channel in self.channels:
            await channel.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _to_its_end(conversation: Coroutine[None, None, None], handler: Handler) -> None:
    try:
        await conversation
        code = grpc.StatusCode.OK
    except grpc.aio.AioRpcError as error:
        code = error.code()
    handler.ended(code.value[0], time.perf_counter())
