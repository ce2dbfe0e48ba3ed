"""The methods of a client for asyncio: the counterpart of `methods`, with the same ones."""

from __future__ import annotations

from seqserve.client._async.calls import AsyncCalls


class AsyncMethods:
    """What the methods of an asyncio client go by."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
