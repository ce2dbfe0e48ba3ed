"""The common part of calls with grpc.aio: channels that take turns, and one task per call."""

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
    """Channels to one server, and the running calls."""

    def __init__(self, address: str, connections: int) -> None:
        # Without separate subchannel pools, channels to one address would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channels = [grpc.aio.insecure_channel(address, options) for _ in range(connections)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0

    def next_of(self, methods: Sequence[MethodT]) -> MethodT:
        """Returns the next of ``methods``, which holds one per channel."""
        self._calls += 1
        return methods[self._calls % len(methods)]

    def run(self, conversation: Coroutine[None, None, None], handler: Handler) -> asyncio.Task[None]:
        """Runs a call to its end in a task, and reports its status to the handler."""
        task = asyncio.create_task(_run_to_end(conversation, handler))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancels running calls and disconnects."""
        for channel in self.channels:
            await channel.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _run_to_end(conversation: Coroutine[None, None, None], handler: Handler) -> None:
    try:
        await conversation
        code = grpc.StatusCode.OK
    except grpc.aio.AioRpcError as error:
        code = error.code()
    handler.ended(code.value[0], time.perf_counter())
