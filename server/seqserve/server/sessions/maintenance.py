"""What goes on beside the requests: leases are renewed, what has expired is forgotten, unloaded models end."""

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

_RENEWALS = 3  # in the time of a lease: two may fail


class SessionMaintenance:
    """Looks after sessions as long as the server serves."""

    def __init__(self, repository: Repository, live_sessions: LiveSessions, settings: SessionSettings) -> None:
        self.usage = Usage(0, 0)  # as of the last sweep
        self.counts = live_sessions.counts
        self._repository = repository
        self._live_sessions = live_sessions
        self._settings = settings
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        lease_s, sweep_s = self._settings.lease_s / _RENEWALS, self._settings.sweep_interval_s
        self._tasks = [
            asyncio.create_task(_repeat(lease_s, self._live_sessions.renew)),
            asyncio.create_task(_repeat(sweep_s, self.sweep)),
        ]

    async def close(self) -> None:
        """End, and close the store. No request may be running."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._live_sessions.store.close()

    async def sweep(self) -> None:
        """Forget what has expired, and let models go that nothing needs any more."""
        await self._live_sessions.sweep()
        self.usage = await self._live_sessions.store.usage()
        await self.unload_unused_models()

    async def unload_unused_models(self) -> None:
        """End the versions that are being unloaded, but those that a request uses or a session goes on with."""
        for entry in self._repository.unused():
            if entry.model is None:
                continue
            pinned = self._settings.on_model_change != "refuse"
            if not (pinned and await self._live_sessions.store.count_of_servable(entry.model.servable.id.digest)):
                await self._repository.finish_unloading(entry)


async def _repeat(interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do something at once, and again and again; what fails is tried again the next time."""
    while True:
        try:
            await work()
        except ServeError as error:
            log.warning("the session store failed, it is asked again in %g s: %s", interval_s, error)
        except Exception:  # whatever it is, sessions have to expire and leases to be kept
            log.exception("looking after sessions failed, it is tried again in %g s", interval_s)
        await asyncio.sleep(interval_s)
