"""Asking an engine for several results at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Listed

from seqserve.server.errors import QueueFullError
from seqserve.server.lanes import Lanes
from seqserve.server.requests import Admission, Request
from seqserve.server.sequence import Sequence
from seqserve.server.stream import ResultT


async def results(engine: Lanes, requests: Listed[Request], admission: Admission, kind: type[ResultT]) -> list[ResultT]:
    """The results of requests, in order, and none is left behind if one fails.

    They are in line together, as many as the line takes; the rest follow as the first are done.

    Raises: ServeError, as submit and take do; QueueFullError if the line has no room for the first.
    """
    running: deque[Sequence] = deque()
    found: list[ResultT] = []
    try:
        for request in requests:
            while True:
                try:
                    running.append(engine.submit(request, admission))
                    break
                except QueueFullError:
                    if not running:
                        raise
                    found.append(await running[0].stream.take_result(kind))
                    running.popleft()
        while running:
            found.append(await running[0].stream.take_result(kind))
            running.popleft()
        return found
    finally:
        for sequence in running:
            engine.cancel(sequence)
