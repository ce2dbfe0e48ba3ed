"""A store that measures how long its operations take."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TypeVar

from prometheus_client import Histogram

from seqserve.server.stores.store import Lease, Record, SessionKey, Store, Usage

_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_T = TypeVar("_T")


class InstrumentedStore:
    """Wraps a store and observes the duration of each operation, failures included.

    Waiting for a lease is not an operation of the store and is not observed.

    Attributes:
        durable: As of the store.
        seconds: The histogram, labelled with the operation. It is in no registry.
    """

    def __init__(self, store: Store) -> None:
        """Wraps a store.

        Args:
            store: Receives all calls.
        """
        self.durable = store.durable
        self.seconds = Histogram(
            "seqserve_store_seconds",
            "Duration of the session store's operations, in seconds.",
            ["operation"],
            buckets=_BUCKETS_S,
            registry=None,
        )
        self._store = store

    async def create(self, record: Record) -> tuple[Record, bool]:
        """See Store."""
        return await self._observe("create", self._store.create(record))

    async def read(self, key: SessionKey) -> Record | None:
        """See Store."""
        return await self._observe("read", self._store.read(key))

    async def acquire(self, key: SessionKey, holder: str) -> Lease:
        """See Store."""
        return await self._observe("acquire", self._store.acquire(key, holder))

    async def wait_free(self, key: SessionKey) -> None:
        """See Store."""
        await self._store.wait_free(key)

    async def renew(self, lease: Lease) -> bool:
        """See Store."""
        return await self._observe("renew", self._store.renew(lease))

    async def release(self, lease: Lease) -> None:
        """See Store."""
        await self._observe("release", self._store.release(lease))

    async def write(self, record: Record, lease: Lease, ttl_s: float | None = None) -> Record:
        """See Store."""
        return await self._observe("write", self._store.write(record, lease, ttl_s))

    async def touch(self, key: SessionKey, ttl_s: float | None) -> Record | None:
        """See Store."""
        return await self._observe("touch", self._store.touch(key, ttl_s))

    async def delete(self, key: SessionKey) -> bool:
        """See Store."""
        return await self._observe("delete", self._store.delete(key))

    async def list(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """See Store."""
        return await self._observe("list", self._store.list(owner, model, after, count))

    async def count_of_servable(self, digest: str) -> int:
        """See Store."""
        return await self._observe("count_of_servable", self._store.count_of_servable(digest))

    async def sweep(self) -> int:
        """See Store."""
        return await self._observe("sweep", self._store.sweep())

    async def usage(self) -> Usage:
        """See Store."""
        return await self._observe("usage", self._store.usage())

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    async def _observe(self, operation: str, call: Awaitable[_T]) -> _T:
        start_s = time.perf_counter()
        try:
            return await call
        finally:
            self.seconds.labels(operation).observe(time.perf_counter() - start_s)
