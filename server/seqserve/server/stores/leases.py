"""Leases in memory, for stores that belong to one process. They end with the process.

They never run out: the holder is a task of this process, which releases the lease in a `finally` block.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable

from seqserve.server.errors import SessionBusyError
from seqserve.server.stores.store import Lease, SessionKey


class LocalLeases:
    """Holders by session. Any thread may call `holds` and `since_s`; all else belongs to the event loop."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._held: dict[SessionKey, tuple[Lease, float]] = {}  # with the time since which it is leased
        self._waiting: dict[SessionKey, asyncio.Future[None]] = {}
        self._fences = itertools.count(1)

    def since_s(self, key: SessionKey) -> float:
        """Returns since when the session is leased, or infinity if it is not."""
        return self._held.get(key, (None, math.inf))[1]

    def held(self, key: SessionKey) -> bool:
        """Returns whether the session is leased."""
        return key in self._held

    def holds(self, lease: Lease) -> bool:
        """Returns whether this lease is the current one."""
        return self._held.get(lease.key, (None, 0))[0] == lease

    def take(self, key: SessionKey, holder: str) -> Lease:
        """Takes the lease if it is free or the holder has it. Raises: SessionBusyError if another holder has it."""
        current, since_s = self._held.get(key, (None, self._now()))
        if current is not None and current.holder != holder:
            raise SessionBusyError(f"another request is advancing session {key.id!r}", resource=("session", key.id))
        lease = Lease(key, holder, next(self._fences))
        self._held[key] = lease, since_s
        return lease

    def release(self, lease: Lease) -> None:
        """Releases the lease. Does nothing if it is not the current one."""
        if self.holds(lease):
            self.drop(lease.key)

    def drop(self, key: SessionKey) -> None:
        """Ends the lease of the session, whoever holds it, and wakes those that wait."""
        self._held.pop(key, None)
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.set_result(None)

    async def wait_free(self, key: SessionKey) -> None:
        """Waits until the lease ends. All that wait are woken."""
        if key in self._held:
            waiting = self._waiting.get(key)
            if waiting is None:
                waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
            await asyncio.shield(waiting)  # shared: cancelling one waiter does not cancel the others


class LocallyLeased:
    """The lease methods of a `Store`, with leases in memory."""

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
