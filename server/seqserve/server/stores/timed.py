"""A store that tells how long its operations take."""

from __future__ import annotations

import bisect
import time
from collections import defaultdict
from collections.abc import Awaitable
from typing import TypeVar

from seqserve.server.stores.store import Lease, Record, SessionKey, Store, Usage

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_T = TypeVar("_T")


class Durations:
    """How often an operation took how long. counts: by the first of BOUNDS_S that is not below, the last for longer."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Take note of one."""
        self.counts[bisect.bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class TimedStore:
    """Another store with a clock beside it; failures count too. Waiting for a lease is not timed."""

    def __init__(self, store: Store) -> None:
        self.durable = store.durable
        self.durations: defaultdict[str, Durations] = defaultdict(Durations)
        self._store = store

    async def create(self, record: Record) -> tuple[Record, bool]:
        """See Store."""
        return await self._timed("create", self._store.create(record))

    async def read(self, key: SessionKey) -> Record | None:
        """See Store."""
        return await self._timed("read", self._store.read(key))

    async def acquire(self, key: SessionKey, holder: str) -> Lease:
        """See Store."""
        return await self._timed("acquire", self._store.acquire(key, holder))

    async def wait_free(self, key: SessionKey) -> None:
        """See Store."""
        await self._store.wait_free(key)

    async def renew(self, lease: Lease) -> bool:
        """See Store."""
        return await self._timed("renew", self._store.renew(lease))

    async def release(self, lease: Lease) -> None:
        """See Store."""
        await self._timed("release", self._store.release(lease))

    async def write(self, record: Record, lease: Lease, ttl_s: float | None = None) -> Record:
        """See Store."""
        return await self._timed("write", self._store.write(record, lease, ttl_s))

    async def touch(self, key: SessionKey, ttl_s: float | None) -> Record | None:
        """See Store."""
        return await self._timed("touch", self._store.touch(key, ttl_s))

    async def delete(self, key: SessionKey) -> bool:
        """See Store."""
        return await self._timed("delete", self._store.delete(key))

    async def list(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """See Store."""
        return await self._timed("list", self._store.list(owner, model, after, count))

    async def count_of_servable(self, digest: str) -> int:
        """See Store."""
        return await self._timed("count_of_servable", self._store.count_of_servable(digest))

    async def sweep(self) -> int:
        """See Store."""
        return await self._timed("sweep", self._store.sweep())

    async def usage(self) -> Usage:
        """See Store."""
        return await self._timed("usage", self._store.usage())

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    async def _timed(self, operation: str, call: Awaitable[_T]) -> _T:
        start_s = time.perf_counter()
        try:
            return await call
        finally:
            self.durations[operation].add(time.perf_counter() - start_s)
