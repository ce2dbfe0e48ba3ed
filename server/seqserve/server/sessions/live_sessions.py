"""The store as sessions see it: found or not, expired or not, and held while a request advances one."""

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
    """What became of sessions since the server started; see `metrics` for the meanings."""

    created: int = 0
    expired: int = 0
    restored: int = 0
    forked: int = 0
    resumed: int = 0


class LiveSessions:
    """Sessions by key."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.counts = SessionCounts()
        self._held: dict[SessionKey, Lease] = {}

    async def find(self, key: SessionKey) -> Session | None:
        """A live session; None if there is none."""
        record = await self.store.read(key)
        return None if record is None or not record.body else self.session(record)

    async def read(self, key: SessionKey) -> Session:
        """A live session. Raises: SessionNotFoundError, SessionExpiredError, StoreDataLossError."""
        return self.session(require_live(key, await self.store.read(key)))

    def session(self, record: Record) -> Session:
        """What a live record holds. Raises: StoreDataLossError."""
        return Session(record, parse(record), record.key in self._held)

    @asynccontextmanager
    async def hold(self, key: SessionKey, request_id: str) -> AsyncGenerator[Lease]:
        """Hold the right to advance a session, which need not exist, until the block is left.

        A request takes it over from an earlier try of its own. Raises: SessionBusyError.
        """
        lease = await self.store.acquire(key, request_id or secrets.token_hex(16))
        self._held[key] = lease
        try:
            yield lease
        finally:
            await self.release(lease)

    async def release(self, lease: Lease) -> None:
        """Release a lease before its block is left; harmless if it was released or taken over."""
        if self._held.get(lease.key) is lease:
            del self._held[lease.key]
            try:
                await self.store.release(lease)
            except StoreUnavailableError as error:  # what the request did is done; the lease runs out by itself
                log.warning("the lease of session %s was not given back: %s", lease.key.id, error)

    async def renew(self) -> None:
        """Keep all leases that are held from running out."""
        for lease in list(self._held.values()):
            if not await self.store.renew(lease) and self._held.get(lease.key) is lease:  # not given back meanwhile
                log.warning("session %s was taken over while a request advanced it", lease.key.id)

    async def sweep(self) -> None:
        """Forget what has expired."""
        self.counts.expired += await self.store.sweep()


def require_live(key: SessionKey, record: Record | None) -> Record:
    """The record, if it is a live one. Raises: SessionNotFoundError, SessionExpiredError with the time."""
    if record is None:
        raise SessionNotFoundError(f"there is no session {key.id!r}", resource=("session", key.id))
    if not record.body:
        time = datetime.fromtimestamp(record.expires_s, UTC).isoformat(timespec="milliseconds")
        raise SessionExpiredError(
            f"session {key.id!r} expired at {time}", resource=("session", key.id), metadata={"expire_time": time}
        )
    return record
