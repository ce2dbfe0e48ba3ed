"""Sessions in memory, with limits. They end with the process.

When the store is full, a new session is refused, or the least recently used ones make room: they are evicted, or move
to a temporary file until they are used again. Leased sessions are not moved or evicted.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Literal

from seqserve.server.errors import StoreFullError
from seqserve.server.stores.clock import SteadyClock
from seqserve.server.stores.leases import LocalLeases, LocallyLeased
from seqserve.server.stores.limits import StoreLimits
from seqserve.server.stores.records import Records
from seqserve.server.stores.session_rules import SessionRules
from seqserve.server.stores.store import Lease, Record, SessionKey, Usage
from seqserve.server.stores.table import SqlTable

_RETRY_AFTER_S = 1.0


# What happens when the store is full.
WhenFull = Literal["refuse", "evict", "spill"]


class BoundedTable:
    """Records in memory, up to a number and a size, and optionally more of them in a temporary file.

    A `Table` of `SessionRules`. A record is in one of the two places. Reading one moves it into memory.
    """

    def __init__(self, *, count_max: int, bytes_max: int, when_full: WhenFull, leases: LocalLeases) -> None:
        self.evicted = 0
        self.memory = Records(tombstones_max=count_max)
        self.file: SqlTable | None = None
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._when_full = when_full
        self._leases = leases
        if when_full == "spill":
            self._connection = sqlite3.connect(
                "", isolation_level=None
            )  # no name: deleted even if the process is killed
            self._connection.execute("PRAGMA journal_mode = MEMORY")
            SqlTable.set_up(self._connection, per_owner=True)
            self.file = SqlTable(self._connection)

    def get(self, key: SessionKey) -> Record | None:
        """See Table.get."""
        record = self.memory.get(key)
        if record is None and self.file is not None:
            record = self.file.get(key)
            if record is not None:
                self.put(record)
        return record

    def put(self, record: Record) -> None:
        """See Table.put. Raises: StoreFullError if there is no room; nothing has changed then."""
        displaced = self._records_to_displace(record) if record.body else []
        if displaced is None:
            self._spill(record)
            self.memory.remove(record.key)
            return
        for other in displaced:
            if self._when_full == "spill":
                self._spill(other)
            else:
                self.evicted += 1
            self.memory.remove(other.key)
        if self.file is not None:
            self.file.remove(record.key)
        self.memory.put(record)

    def remove(self, key: SessionKey) -> None:
        """See Table.remove."""
        self.memory.remove(key)
        if self.file is not None:
            self.file.remove(key)

    def page(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """See Table.page."""
        records = self.memory.page(owner, model, after, count)
        if self.file is not None:
            records += self.file.page(owner, model, after, count)
            records.sort(key=lambda record: record.key.id)
        return records[:count]

    def due(self, before_s: float, count: int) -> list[Record]:
        """See Table.due."""
        records = self.memory.due(before_s, count)
        return records + (self.file.due(before_s, count - len(records)) if self.file is not None else [])

    def purge(self, before_s: float, count: int) -> int:
        """See Table.purge."""
        return self.memory.purge(before_s, count)

    def count_of_servable(self, digest: str) -> int:
        """See Table.count_of_servable."""
        return self.memory.count_of_servable(digest) + (
            self.file.count_of_servable(digest) if self.file is not None else 0
        )

    def usage(self) -> Usage:
        """See Table.usage."""
        memory = self.memory.usage()
        file = self.file.usage() if self.file is not None else Usage(0, 0)
        return Usage(memory.sessions + file.sessions, memory.bytes + file.bytes, self.evicted)

    def usage_of(self, owner: str) -> Usage:
        """See Table.usage_of."""
        memory = self.memory.usage_of(owner)
        file = self.file.usage_of(owner) if self.file is not None else Usage(0, 0)
        return Usage(memory.sessions + file.sessions, memory.bytes + file.bytes)

    def close(self) -> None:
        """Deletes the file."""
        if self.file is not None:
            self._connection.close()

    def _records_to_displace(self, record: Record) -> list[Record] | None:
        """Returns the records that must leave memory so that this one fits. None: it does not fit."""
        existing = self.memory.peek(record.key)
        usage = self.memory.usage()
        count = usage.sessions + (not (existing and existing.body)) - self._count_max
        size = usage.bytes + len(record.body) - (len(existing.body) if existing else 0) - self._bytes_max
        displaced: list[Record] = []
        for other in self.memory.least_recent() if self._when_full != "refuse" else ():
            if count <= 0 and size <= 0:
                break
            if other.key != record.key and not self._leases.held(other.key):
                displaced.append(other)
                count -= 1
                size -= len(other.body)
        return displaced if count <= 0 and size <= 0 else None

    def _spill(self, record: Record) -> None:
        """Puts a record into the file. Raises: StoreFullError if there is no file, or no room on its disk."""
        if self.file is None:
            usage = self.memory.usage()
            raise StoreFullError(
                f"no room for session {record.key.id!r}: the store has {usage.sessions} of at most {self._count_max}"
                f" sessions, and {usage.bytes} of at most {self._bytes_max} bytes",
                retry_after_s=_RETRY_AFTER_S,
            )
        try:
            self.file.put(record)
        except sqlite3.Error as error:
            raise StoreFullError(
                f"no room for session {record.key.id!r}: the temporary file failed: {error}",
                retry_after_s=_RETRY_AFTER_S,
            ) from error


class MemoryStore(LocallyLeased):
    """`Store` in memory."""

    durable = False

    def __init__(
        self,
        *,
        count_max: int,
        bytes_max: int,
        when_full: WhenFull,
        grace_s: float,
        now: Callable[[], float] | None = None,
        limits: StoreLimits | None = None,
    ) -> None:
        """Opens an empty store.

        Args:
            count_max: Maximum number of sessions in memory.
            bytes_max: Maximum size of their bodies, in bytes.
            when_full: What happens when the store is full.
            grace_s: How long expired sessions are known as expired, in seconds.
            now: Returns the unix time in seconds. Default: a clock that does not jump when the system's clock is set.
            limits: Limits on memory and temporary file together, and for each owner. Default: none.
        """
        now = now or SteadyClock()
        super().__init__(LocalLeases(now))
        self._table = BoundedTable(count_max=count_max, bytes_max=bytes_max, when_full=when_full, leases=self.leases)
        self._rules = SessionRules(self._table, self.leases, grace_s=grace_s, now=now, limits=limits or StoreLimits())

    async def create(self, record: Record) -> tuple[Record, bool]:
        """See Store.create."""
        return self._rules.create(record)

    async def read(self, key: SessionKey) -> Record | None:
        """See Store.read."""
        return self._rules.read(key)

    async def write(self, record: Record, lease: Lease, ttl_s: float | None = None) -> Record:
        """See Store.write."""
        return self._rules.write(record, lease, ttl_s)

    async def touch(self, key: SessionKey, ttl_s: float | None) -> Record | None:
        """See Store.touch."""
        return self._rules.touch(key, ttl_s)

    async def delete(self, key: SessionKey) -> bool:
        """See Store.delete."""
        deleted = self._rules.delete(key)
        if deleted:
            self.leases.drop(key)
        return deleted

    async def list(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """See Store.list."""
        return self._rules.list(owner, model, after, count)

    async def count_of_servable(self, digest: str) -> int:
        """See Store.count_of_servable."""
        return self._table.count_of_servable(digest)

    async def sweep(self) -> int:
        """See Store.sweep. Other calls may run between passes."""
        expired, more = 0, True
        while more:
            count, more = self._rules.sweep()
            expired += count
            await asyncio.sleep(0)
        return expired

    async def usage(self) -> Usage:
        """See Store.usage."""
        return self._table.usage()

    async def close(self) -> None:
        """See Store.close."""
        self._table.close()
