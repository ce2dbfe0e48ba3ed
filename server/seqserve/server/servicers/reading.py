"""Asking an engine for several results at once."""

from __future__ import annotations

from collections.abc import Sequence as Listed

from seqserve.server.engine import Engine
from seqserve.server.requests import Admission, Request
from seqserve.server.sequence import Sequence
from seqserve.server.stream import ResultT


async def results(
    engine: Engine, requests: Listed[Request], admission: Admission, kind: type[ResultT]
) -> list[ResultT]:
    """The results of requests, in order; all are in line together, and none is left behind if one fails.

    Raises: ServeError, as submit and take do.
    """
    sequences: list[Sequence] = []
    try:
        for request in requests:
            sequences.append(engine.submit(request, admission))  # noqa: PERF401 - to be known if a later one is refused
        return [await sequence.stream.take_result(kind) for sequence in sequences]
    finally:
        for sequence in sequences:
            engine.cancel(sequence)
