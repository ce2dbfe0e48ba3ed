"""The rules of a store: creating, reading, writing, touching and expiring sessions in a table of records.

Synchronous and without I/O: a table contains the records, and the store decides which thread calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from seqserve.server.errors import LeaseLostError, SessionNotFoundError
from seqserve.server.stores.leases import LocalLeases
from seqserve.server.stores.limits import StoreLimits
from seqserve.server.stores.store import Lease, Record, SessionKey, Usage

_NO_LIMITS = StoreLimits()
SWEEP_MAX = 256  # number of sessions in one pass of a sweep


class Table(Protocol):
    """Records by key: live ones with a body, and tombstones without."""

    def get(self, key: SessionKey) -> Record | None:
        """Returns the record with this key, or None."""
        ...

    def put(self, record: Record) -> None:
        """Adds the record, or replaces the one with its key."""
        ...

    def remove(self, key: SessionKey) -> None:
        """Removes the record with this key, if there is one."""
        ...

    def page(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """Returns live records in order of the UTF-8 bytes of their ids; see Store.list."""
        ...

    def due(self, before_s: float, count: int) -> list[Record]:
        """Returns live records whose `expires_s` is at most this, earliest first. The caller must put each of them."""
        ...

    def purge(self, before_s: float, count: int) -> int:
        """Removes at most `count` tombstones whose `expires_s` is at most this. Returns how many."""
        ...

    def count_of_servable(self, digest: str) -> int:
        """Returns the number of live records with this digest."""
        ...

    def usage(self) -> Usage:
        """Returns the number of live records and the size of their bodies."""
        ...

    def usage_of(self, owner: str) -> Usage:
        """Returns the number of live records of an owner and the size of their bodies."""
        ...


class SessionRules:
    """Applies the rules to a table."""

    def __init__(
        self,
        table: Table,
        leases: LocalLeases,
        *,
        grace_s: float,
        now: Callable[[], float],
        limits: StoreLimits = _NO_LIMITS,
    ) -> None:
        self.table = table
        self._limits = limits
        self._leases = leases
        self._grace_s = grace_s
        self._now = now

    def create(self, record: Record) -> tuple[Record, bool]:
        """See Store.create."""
        existing = self.read(record.key)
        if existing is not None and existing.body:
            return existing, False
        self._check_room(record.key, 1, len(record.body))
        now_s = self._now()
        return self._put(replace(record, created_s=now_s, updated_s=now_s), now_s), True

    def read(self, key: SessionKey) -> Record | None:
        """See Store.read."""
        record = self.table.get(key)
        if record is None or (record.body and self._lives(record)):
            return record
        return replace(record, body=b"") if self._now() < record.expires_s + self._grace_s else None

    def write(self, record: Record, lease: Lease, ttl_s: float | None) -> Record:
        """See Store.write."""
        existing = self.read(record.key)
        if existing is None or not existing.body or existing.created_s != record.created_s:
            raise SessionNotFoundError(
                f"session {record.key.id!r} was deleted while a request advanced it",
                resource=("session", record.key.id),
            )
        if not self._leases.holds(lease):
            raise LeaseLostError(
                f"another request has taken session {record.key.id!r} over", resource=("session", record.key.id)
            )
        self._check_room(record.key, 0, len(record.body) - len(existing.body))
        now_s = self._now()
        return self._put(replace(record, ttl_s=existing.ttl_s if ttl_s is None else ttl_s, updated_s=now_s), now_s)

    def touch(self, key: SessionKey, ttl_s: float | None) -> Record | None:
        """See Store.touch."""
        existing = self.read(key)
        if existing is None or not existing.body:
            return existing
        return self._put(replace(existing, ttl_s=existing.ttl_s if ttl_s is None else ttl_s), self._now())

    def delete(self, key: SessionKey) -> bool:
        """See Store.delete. The caller drops the lease."""
        existing = self.read(key)
        if existing is None or not existing.body:
            return False
        self.table.remove(key)
        return True

    def list(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """See Store.list."""
        records: list[Record] = []
        while len(records) < count:
            page = self.table.page(owner, model, after, count - len(records))
            if not page:
                break
            records += filter(self._lives, page)
            after = page[-1].key.id
        return records

    def sweep(self, limit: int = SWEEP_MAX) -> tuple[int, bool]:
        """Runs one pass of a sweep.

        Args:
            limit: Maximum number of sessions, and of tombstones.

        Returns:
            How many sessions expired, and whether there may be more to do.
        """
        now_s = self._now()
        due = self.table.due(now_s, limit)
        expired = 0
        for record in due:
            if self._lives(record):
                self._put(record, now_s)  # leased, so its time to live restarts
            else:
                self.table.put(replace(record, body=b""))
                expired += 1
        purged = self.table.purge(now_s - self._grace_s, limit)
        return expired, limit in (len(due), purged)

    def _check_room(self, key: SessionKey, count: int, size: int) -> None:
        """Raises StoreFullError if the store or the owner has no room for more sessions or bytes."""
        if count <= 0 and size <= 0:  # a store above a limit that was lowered still gets smaller
            return
        usage = self.table.usage()
        self._limits.check_total(key, Usage(usage.sessions + count, usage.bytes + size))
        if self._limits.per_owner:
            usage = self.table.usage_of(key.owner)
            self._limits.check_owner(key, Usage(usage.sessions + count, usage.bytes + size))

    def _lives(self, record: Record) -> bool:
        return min(self._now(), self._leases.since_s(record.key)) < record.expires_s

    def _put(self, record: Record, now_s: float) -> Record:
        record = replace(record, expires_s=now_s + record.ttl_s)
        self.table.put(record)
        return record
