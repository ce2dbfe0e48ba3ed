"""The store of sessions: bytes by key, leases, expiry. It knows nothing of models, tensors or the wire.

Times are unix times in seconds, on the store's clock; durations end in `_s`. A store stamps what it keeps: it sets
`created_s`, `updated_s` and `expires_s` (now + `ttl_s`) itself, whatever the record that comes in says, and gives the
record back as it is kept.

Expiry: from `expires_s` on a session reads as a tombstone (a record with an empty body), and `grace_s` later as
nothing. A session that is leased does not expire under its holder.

Every method may raise StoreUnavailableError; none but `wait_free` waits for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """Names a session. Ids are unique per owner: another's session cannot even be collided with."""

    owner: str
    id: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a store keeps of a session.

    body: a serialized StoredSession, never empty for a live session; empty: it expired, and only that is still known.
    digest: of the servable that the state belongs to. position: tokens consumed.
    """

    key: SessionKey
    model: str
    digest: str
    position: int
    ttl_s: float
    body: bytes
    created_s: float = 0.0
    updated_s: float = 0.0
    expires_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to advance a session. A lease with a higher fence takes it away."""

    key: SessionKey
    holder: str
    fence: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a store holds: live sessions, the bytes of their bodies; and how many it evicted since it was opened."""

    sessions: int
    bytes: int
    evicted: int = 0


class Store(Protocol):
    """Sessions by key. One object serves one event loop."""

    durable: bool  # whether what was written survives the end of this process

    async def create(self, record: Record) -> tuple[Record, bool]:
        """Keep a new session, unless a live one of that key is there; an expired one is replaced.

        Returns: The session that is there now, and whether it was created.
        Raises: StoreFullError.
        """
        ...

    async def read(self, key: SessionKey) -> Record | None:
        """The session; with an empty body for `grace_s` after its expiry; None if there is none."""
        ...

    async def acquire(self, key: SessionKey, holder: str) -> Lease:
        """Take the lease of a session, which need not exist. Who holds it already gets it again, with a higher fence.

        What is read afterwards is what a lease before it wrote, and nothing of that is written later.
        Raises: SessionBusyError if another holder has it.
        """
        ...

    async def wait_free(self, key: SessionKey) -> None:
        """Wait until nobody may have the lease any more. Another may be faster in taking it."""
        ...

    async def renew(self, lease: Lease) -> bool:
        """Keep a lease from running out. Returns: False if it is lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give a lease back; harmless if it is lost."""
        ...

    async def write(self, record: Record, lease: Lease, ttl_s: float | None = None) -> Record:
        """Replace the session that the record was read from (`created_s` tells it from a later one of the same key).

        Args: ttl_s: New time to live; None: as it is there, for it may have been touched since. Not the record's.
        Returns: The record as it is kept. If the store is durable, it survives the end of the process from now on.
        Raises: SessionNotFoundError if it was deleted or has expired; LeaseLostError if a higher fence was given out;
            StoreFullError.
        """
        ...

    async def touch(self, key: SessionKey, ttl_s: float | None) -> Record | None:
        """Begin a session's time to live anew, with another one if given. Returns: What `read` does afterwards."""
        ...

    async def delete(self, key: SessionKey) -> bool:
        """Forget a live session, and its lease. Returns: Whether there was one."""
        ...

    async def list(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """An owner's live sessions in order of the UTF-8 bytes of their ids, bodies included.

        Args:
            owner: whose they are.
            model: those of this model; "" for all.
            after: ids that are greater; "" to begin.
            count: this many at most; fewer only if there are no more.
        """
        ...

    async def count_of_servable(self, digest: str) -> int:
        """How many sessions of a servable there are that no sweep has found expired."""
        ...

    async def sweep(self) -> int:
        """Drop the bodies of expired sessions, and what is left of them `grace_s` later. Returns: How many expired."""
        ...

    async def usage(self) -> Usage:
        """What it holds. Sessions that no sweep has found expired count as live."""
        ...

    async def close(self) -> None:
        """Give everything back. No other call may be under way or follow."""
        ...
