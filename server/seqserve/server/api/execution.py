"""Runs work off the event loop, and gathers the results of several requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Listed
from typing import ParamSpec, TypeVar

from seqserve.server.engine.output_stream import ResultT
from seqserve.server.engine.pool import EnginePool
from seqserve.server.engine.requests import Admission, Request
from seqserve.server.engine.sequence import Sequence

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BYTES_MAX = 1 << 14  # of a message that is read or written on the event loop; more takes milliseconds


async def run_off_loop(size: int, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Calls ``work``: directly if its message is small, otherwise on another thread, to keep the event loop free.

    Args: size: Size of the message, in bytes.
    """
    return work(*given, **named) if size <= INLINE_BYTES_MAX else await asyncio.to_thread(work, *given, **named)


async def gather_results(
    engine: EnginePool, requests: Listed[Request], admission: Admission, kind: type[ResultT]
) -> list[ResultT]:
    """Returns the results of requests, in order. If one fails, the others are cancelled.

    They run together, as many as leave others as many places in the line; the rest follow as the first are done.

    Raises: ServeError, as submit and take do; QueueFullError if the queue is full and none of these requests runs.
    """
    running: deque[Sequence] = deque()
    found: list[ResultT] = []
    try:
        for request in requests:
            while running and len(running) >= engine.room:
                found.append(await running[0].stream.take_result(kind))
                running.popleft()
            running.append(engine.submit(request, admission))
        while running:
            found.append(await running[0].stream.take_result(kind))
            running.popleft()
        return found
    finally:
        for sequence in running:
            engine.cancel(sequence)
