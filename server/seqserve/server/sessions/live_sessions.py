"""Sessions in the store: live, expired or not found, and leased while a request advances them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from seqserve.server.errors import SessionExpiredError, SessionNotFoundError, StoreUnavailableError
from seqserve.server.sessions.session_record import Session, parse
from seqserve.server.stores import Lease, Record, SessionKey, Store

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SessionCounts:
    """Counts of events since the server started; `metrics` describes them."""

    created: int = 0
    expired: int = 0
    restored: int = 0
    forked: int = 0
    resumed: int = 0


class LiveSessions:
    """Sessions by key, and the leases that requests of this server hold."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.counts = SessionCounts()
        self._held: dict[SessionKey, Lease] = {}

    async def find(self, key: SessionKey) -> Session | None:
        """Returns a live session, or None. Raises: StoreDataLossError."""
        record = await self.store.read(key)
        return None if record is None or not record.body else self.session(record)

    async def read(self, key: SessionKey) -> Session:
        """Returns a live session. Raises: SessionNotFoundError, SessionExpiredError, StoreDataLossError."""
        return self.session(require_live(key, await self.store.read(key)))

    def session(self, record: Record) -> Session:
        """Returns the session of a live record. Raises: StoreDataLossError."""
        return Session(record, parse(record), record.key in self._held)

    @asynccontextmanager
    async def hold(self, key: SessionKey, request_id: str) -> AsyncGenerator[Lease]:
        """Holds the lease of a session until the block is left. The session need not exist.

        Args:
            key: The session.
            request_id: Identifies the request. A request takes the lease over from an earlier try. "": no earlier try.

        Raises:
            SessionBusyError: Another request holds the lease.
        """
        lease = await self.store.acquire(key, request_id or secrets.token_hex(16))
        self._held[key] = lease
        try:
            yield lease
        finally:
            await self.release(lease)

    async def release(self, lease: Lease) -> None:
        """Releases a lease before its block is left. Does nothing if it was released or taken over."""
        if self._held.get(lease.key) is lease:
            del self._held[lease.key]
            try:
                await self.store.release(lease)
            except StoreUnavailableError as error:  # the request has succeeded, and the lease runs out
                log.warning("failed to release the lease of session %s: %s", lease.key.id, error)

    async def renew(self) -> None:
        """Renews all leases that are held."""
        for lease in list(self._held.values()):
            if not await self.store.renew(lease) and self._held.get(lease.key) is lease:  # not released meanwhile
                log.warning("lost the lease of session %s while a request advanced it", lease.key.id)

    async def sweep(self) -> None:
        """Removes expired sessions."""
        self.counts.expired += await self.store.sweep()


def require_live(key: SessionKey, record: Record | None) -> Record:
    """Returns the record if it is live. Raises: SessionNotFoundError, SessionExpiredError with the time."""
    if record is None:
        raise SessionNotFoundError(f"session {key.id!r} does not exist", resource=("session", key.id))
    if not record.body:
        time = datetime.fromtimestamp(record.expires_s, UTC).isoformat(timespec="milliseconds")
        raise SessionExpiredError(
            f"session {key.id!r} expired at {time}", resource=("session", key.id), metadata={"expire_time": time}
        )
    return record
