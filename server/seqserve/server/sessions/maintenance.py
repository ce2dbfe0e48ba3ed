"""Background work on sessions: renews leases, removes expired sessions, ends unloaded models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from seqserve.server.errors import ServeError
from seqserve.server.repository import Repository
from seqserve.server.sessions.live_sessions import LiveSessions
from seqserve.server.settings import SessionSettings
from seqserve.server.stores import Usage

log = logging.getLogger(__name__)

_AVAILABLE = {True: "answers again", False: "does not answer: sessions are not served until it does"}
_RENEWALS = 3  # per lease duration, so that two may fail


class SessionMaintenance:
    """Maintains sessions while the server runs.

    Attributes:
        usage: What the store contained at the last sweep.
        counts: Counts of events.
        available: Whether the store answered last.
        changed: Set when that has changed; the one that waits for it clears it.
    """

    def __init__(self, repository: Repository, live_sessions: LiveSessions, settings: SessionSettings) -> None:
        self.usage = Usage(0, 0)
        self.counts = live_sessions.counts
        self.available = True
        self.changed = asyncio.Event()
        self._repository = repository
        self._live_sessions = live_sessions
        self._settings = settings
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts the background tasks."""
        lease_s, sweep_s = self._settings.lease_s / _RENEWALS, self._settings.sweep_interval_s
        self._tasks = [
            asyncio.create_task(_repeat(lease_s, self._live_sessions.renew)),
            asyncio.create_task(_repeat(sweep_s, self.sweep)),
            asyncio.create_task(_repeat(lease_s, self.check)),
        ]

    async def close(self) -> None:
        """Stops the background tasks and closes the store. No request may be running."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._live_sessions.store.close()

    async def check(self) -> None:
        """Asks the store whether it answers."""
        try:
            await self._live_sessions.store.usage()
        except ServeError:
            available = False
        else:
            available = True
        if available != self.available:
            log.log(logging.INFO if available else logging.ERROR, "the session store %s", _AVAILABLE[available])
            self.available = available
            self.changed.set()

    async def sweep(self) -> None:
        """Removes expired sessions, and unloads models that are no longer needed."""
        await self._live_sessions.sweep()
        self.usage = await self._live_sessions.store.usage()
        await self.unload_unused_models()

    async def unload_unused_models(self) -> None:
        """Ends versions that are being unloaded, unless a request uses them or a session is pinned to them."""
        for entry in self._repository.unused():
            if entry.model is None:
                continue
            pinned = self._settings.on_model_change != "refuse"
            if not (pinned and await self._live_sessions.store.count_of_servable(entry.model.servable.id.digest)):
                await self._repository.finish_unloading(entry)


async def _repeat(interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Does some work now and at each interval. Failures are logged and do not end the loop."""
    while True:
        try:
            await work()
        except ServeError as error:
            log.warning("the session store failed, retrying in %g s: %s", interval_s, error)
        except Exception:  # sessions must go on expiring and leases must be renewed, whatever failed
            log.exception("session maintenance failed, retrying in %g s", interval_s)
        await asyncio.sleep(interval_s)
