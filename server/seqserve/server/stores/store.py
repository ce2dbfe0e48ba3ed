"""The interface of a session store: bytes by key, leases, and expiry. It is independent of models, tensors and gRPC.

Times are unix times in seconds on the store's clock; durations end in `_s`. A store sets `created_s`, `updated_s` and
`expires_s` (now + `ttl_s`) itself, ignores their values in the record that it receives, and returns the record as it is
stored.

From `expires_s` on, a session reads as a tombstone (a record with an empty body), and `grace_s` later as nothing. A
leased session does not expire.

Every method may raise StoreUnavailableError. Only `wait_free` may wait for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """Identifies a session. Ids are unique per owner, so that sessions of different owners cannot collide."""

    owner: str
    id: str


@dataclass(frozen=True, slots=True)
class Record:
    """A session in a store.

    Attributes:
        key: The key.
        model: Name of the model.
        digest: Digest of the servable that the state belongs to.
        position: Number of consumed tokens.
        ttl_s: Time to live from the last use, in seconds.
        body: A serialized StoredSession. Empty: a tombstone, the session has expired.
        created_s: When the session was created.
        updated_s: When it was last written.
        expires_s: When it expires.
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
    """The right to advance a session. A lease with a higher fence revokes it.

    Attributes:
        key: The session, which need not exist.
        holder: Identifies the holder. The same holder may take the lease again.
        fence: Increases with each lease that a store gives out.
    """

    key: SessionKey
    holder: str
    fence: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a store contains.

    Attributes:
        sessions: Number of live sessions.
        bytes: Size of their bodies.
        evicted: Number of sessions evicted since the store was opened.
    """

    sessions: int
    bytes: int
    evicted: int = 0


class Store(Protocol):
    """Sessions by key. An object belongs to one event loop.

    Attributes:
        durable: Whether written sessions survive the end of this process.
    """

    durable: bool

    async def create(self, record: Record) -> tuple[Record, bool]:
        """Creates a session unless a live one has its key. Replaces an expired one.

        Returns:
            The session that is now stored, and whether it was created.

        Raises:
            StoreFullError: The store has no room.
        """
        ...

    async def read(self, key: SessionKey) -> Record | None:
        """Returns the session, its tombstone for `grace_s` after its expiry, or None."""
        ...

    async def acquire(self, key: SessionKey, holder: str) -> Lease:
        """Takes the lease of a session, which need not exist. The same holder gets it again, with a higher fence.

        Later reads see everything that earlier leases have written, and earlier leases cannot write any more.

        Raises:
            SessionBusyError: Another holder has the lease.
        """
        ...

    async def wait_free(self, key: SessionKey) -> None:
        """Waits until the lease is free. Another caller may take it first."""
        ...

    async def renew(self, lease: Lease) -> bool:
        """Renews a lease, which otherwise runs out. Returns False if it is lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Releases a lease. Does nothing if it is lost."""
        ...

    async def write(self, record: Record, lease: Lease, ttl_s: float | None = None) -> Record:
        """Replaces a session.

        Args:
            record: The new content. Its `created_s` must be that of the stored session, so that a later session with
                the same key is not overwritten. Its `ttl_s` is ignored.
            lease: The lease of the session.
            ttl_s: New time to live in seconds. None: the stored one, which may have changed since the session was read.

        Returns:
            The record as it is stored. If the store is durable, it survives the end of the process from now on.

        Raises:
            SessionNotFoundError: The session was deleted or has expired.
            LeaseLostError: A higher fence was given out.
            StoreFullError: The store has no room.
        """
        ...

    async def touch(self, key: SessionKey, ttl_s: float | None) -> Record | None:
        """Restarts the time to live, with a new one unless ttl_s is None. Returns what `read` returns afterwards."""
        ...

    async def delete(self, key: SessionKey) -> bool:
        """Deletes a live session and its lease. Returns whether there was one."""
        ...

    async def list(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """Returns live sessions of an owner with their bodies, in order of the UTF-8 bytes of their ids.

        Args:
            owner: The owner.
            model: Only sessions of this model. "": all.
            after: Only ids greater than this. "": from the first one.
            count: Maximum number. Fewer are returned only if there are no more.
        """
        ...

    async def count_of_servable(self, digest: str) -> int:
        """Returns the number of sessions of a servable, including expired ones that no sweep has found."""
        ...

    async def sweep(self) -> int:
        """Turns expired sessions into tombstones, and removes tombstones after `grace_s`. Returns how many expired."""
        ...

    async def usage(self) -> Usage:
        """Returns what the store contains. Expired sessions count until a sweep finds them."""
        ...

    async def close(self) -> None:
        """Closes the store. No other call may be running or follow."""
        ...
