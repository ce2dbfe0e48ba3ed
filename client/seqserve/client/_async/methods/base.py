"""What the methods of a client share."""

from __future__ import annotations

from seqserve.client._async.calls import AsyncCalls


class AsyncMethods:
    """Base of the groups of methods."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
