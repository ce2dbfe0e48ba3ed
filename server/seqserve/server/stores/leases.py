"""Leases of a store that one process has to itself: they live in its memory, and end with it.

They never run out: who holds one is a task of this process, and gives it back in its `finally`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable

from seqserve.server.errors import SessionBusyError
from seqserve.server.stores.store import Lease, SessionKey


class LocalLeases:
    """Who may advance which session. Changed on the event loop only; any thread may ask `holds` and `since_s`."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._held: dict[SessionKey, tuple[Lease, float]] = {}  # with the time since when
        self._waiting: dict[SessionKey, asyncio.Future[None]] = {}
        self._fences = itertools.count(1)

    def since_s(self, key: SessionKey) -> float:
        """Since when somebody has the lease of this session; infinity if nobody has."""
        return self._held.get(key, (None, math.inf))[1]

    def held(self, key: SessionKey) -> bool:
        """Whether anybody has the lease of this session."""
        return key in self._held

    def holds(self, lease: Lease) -> bool:
        """Whether this lease is the one that counts."""
        return self._held.get(lease.key, (None, 0))[0] == lease

    def take(self, key: SessionKey, holder: str) -> Lease:
        """Take the lease, from nobody or from oneself. Raises: SessionBusyError if another holder has it."""
        current, since_s = self._held.get(key, (None, self._now()))
        if current is not None and current.holder != holder:
            raise SessionBusyError(f"another request is advancing session {key.id!r}", resource=("session", key.id))
        lease = Lease(key, holder, next(self._fences))
        self._held[key] = lease, since_s
        return lease

    def release(self, lease: Lease) -> None:
        """Release the lease; nothing happens if it is not the one that counts."""
        if self.holds(lease):
            self.drop(lease.key)

    def drop(self, key: SessionKey) -> None:
        """End whatever lease this session has, and tell those that wait."""
        self._held.pop(key, None)
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.set_result(None)

    async def wait_free(self, key: SessionKey) -> None:
        """Wait until the lease ends; all that wait are told."""
        if key in self._held:
            waiting = self._waiting.get(key)
            if waiting is None:
                waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
            await asyncio.shield(waiting)  # shared: one that is cancelled does not end the others' wait


class LocallyLeased:
    """The part of a `Store` that leases are, where they are local."""

    def __init__(self, leases: LocalLeases) -> None:
        self.leases = leases

    async def acquire(self, key: SessionKey, holder: str) -> Lease:
        """See Store.acquire."""
        return self.leases.take(key, holder)

    async def wait_free(self, key: SessionKey) -> None:
        """See Store.wait_free."""
        await self.leases.wait_free(key)

    async def renew(self, lease: Lease) -> bool:
        """See Store.renew."""
        return self.leases.holds(lease)

    async def release(self, lease: Lease) -> None:
        """See Store.release."""
        self.leases.release(lease)
