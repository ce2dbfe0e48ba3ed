"""Sessions in a SQLite file. Written sessions survive a crash of the process and a power failure.

A file belongs to one process, which has it locked and notices if it is replaced. One thread changes the file, several
changes in a transaction, and another thread reads it; with the write-ahead log, they do not block each other. Leases
are in memory, so that a restart frees them all.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from seqserve.server.errors import StoreDataLossError, StoreFullError, StoreUnavailableError, UnusableStoreError
from seqserve.server.stores.clock import SteadyClock
from seqserve.server.stores.disk_reserve import DiskReserve
from seqserve.server.stores.file_lock import FileLock
from seqserve.server.stores.group_commit import GroupCommit
from seqserve.server.stores.leases import LocalLeases, LocallyLeased
from seqserve.server.stores.limits import RETRY_AFTER_S, StoreLimits
from seqserve.server.stores.session_rules import SWEEP_MAX, SessionRules
from seqserve.server.stores.store import Lease, Record, SessionKey, Usage
from seqserve.server.stores.table import SqlTable

_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# More than the write-ahead log has before it is emptied, 1,000 pages of 8 KiB: emptying it may need as much again.
_RESERVE_BYTES = 16 << 20

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


class SqliteStore(LocallyLeased):
    """`Store` in a file."""

    durable = True

    def __init__(
        self,
        path: Path,
        *,
        grace_s: float,
        now: Callable[[], float] | None = None,
        limits: StoreLimits | None = None,
        reserve_bytes: int = _RESERVE_BYTES,
    ) -> None:
        """Opens or creates the file. Call it on the event loop that uses the store.

        Args:
            path: The file.
            grace_s: How long expired sessions are known as expired, in seconds.
            now: Returns the unix time in seconds. Default: a clock that does not jump when the system's clock is set.
            limits: Limits on what the store contains. Default: none.
            reserve_bytes: Disk space that is set aside, so that sessions can be deleted when the disk is full.

        Raises:
            UnusableStoreError: Another process uses the file, it is not a session store, or it cannot be opened.
        """
        now, limits = now or SteadyClock(), limits or StoreLimits()
        super().__init__(LocalLeases(now))
        self._lock = FileLock(path)
        try:
            changing = _connect(path, per_owner=limits.per_owner)
            reading = _connect(path)
            self._lock.watch(path.resolve().with_name(f"{path.resolve().name}-wal"))  # has acknowledged sessions, too
            self._lock.check()  # the connections have opened the file that is locked
        except BaseException:
            self._lock.release()
            raise
        self._connections = changing, reading
        self._changing = SessionRules(SqlTable(changing), self.leases, grace_s=grace_s, now=now, limits=limits)
        self._reading = SessionRules(SqlTable(reading), self.leases, grace_s=grace_s, now=now)
        self._commits = GroupCommit(changing, self._lock.check)
        self._reader = ThreadPoolExecutor(1, "session-reads")
        self._reserve = DiskReserve(path.with_name(f"{path.name}-reserve"), reserve_bytes)  # the changing thread's
        self._reserve_bytes = reserve_bytes

    async def create(self, record: Record) -> tuple[Record, bool]:
        """See Store.create."""
        return await self._change(lambda: self._changing.create(record), grows=True)

    async def read(self, key: SessionKey) -> Record | None:
        """See Store.read."""
        return await self._read(lambda: self._reading.read(key))

    async def acquire(self, key: SessionKey, holder: str) -> Lease:
        """See Store.acquire."""
        taken_over = self.leases.held(key)
        lease = await super().acquire(key, holder)
        if taken_over:  # a write of the earlier lease may be running: reads must come after it
            try:
                await self._change(lambda: None)
            except BaseException:
                self.leases.release(lease)
                raise
        return lease

    async def write(self, record: Record, lease: Lease, ttl_s: float | None = None) -> Record:
        """See Store.write."""
        return await self._change(lambda: self._changing.write(record, lease, ttl_s), grows=True)

    async def touch(self, key: SessionKey, ttl_s: float | None) -> Record | None:
        """See Store.touch."""
        return await self._change(lambda: self._changing.touch(key, ttl_s))

    async def delete(self, key: SessionKey) -> bool:
        """See Store.delete."""
        deleted = await self._change(lambda: self._changing.delete(key))
        if deleted:
            self.leases.drop(key)
        return deleted

    async def list(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """See Store.list."""
        return await self._read(lambda: self._reading.list(owner, model, after, count))

    async def count_of_servable(self, digest: str) -> int:
        """See Store.count_of_servable."""
        return await self._read(lambda: self._reading.table.count_of_servable(digest))

    async def sweep(self) -> int:
        """See Store.sweep. Other changes may run between passes."""
        expired, more, at_once = 0, True, SWEEP_MAX
        while more:
            try:
                count, more = await self._change(partial(self._changing.sweep, at_once))
            except StoreFullError:
                if at_once == 1:
                    raise
                at_once = max(1, at_once // 8)  # a smaller transaction may find room
                continue
            expired += count
        return expired

    async def usage(self) -> Usage:
        """See Store.usage."""
        return await self._read(lambda: self._reading.table.usage())

    async def close(self) -> None:
        """See Store.close."""
        await self._commits.close()
        await asyncio.to_thread(self._reader.shutdown)
        for connection in self._connections:
            connection.close()
        await asyncio.to_thread(self._reserve.release)
        self._lock.release()

    async def _change(self, change: Callable[[], ResultT], *, grows: bool = False) -> ResultT:
        """Runs a change. If the disk is full, one that does not grow the store may use the reserve."""

        def within_room() -> ResultT:
            self._check_room()
            return change()

        try:
            try:
                return await self._commits.run(within_room if grows else change)
            except sqlite3.Error as error:
                if grows or not _is_full(error):
                    raise
            await self._commits.run_alone(self._use_reserve)
            return await self._commits.run(change)
        except sqlite3.Error as error:
            raise _store_error(error) from error

    def _check_room(self) -> None:
        """Raises StoreFullError while the reserve is used up and the file has no free pages of that size."""
        if self._reserve.held or self._reserve.fill():
            return
        connection = self._connections[0]
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
        if pages * size < self._reserve_bytes:
            raise StoreFullError(
                "the session store has no room: the disk is full; delete sessions, or make room on the disk",
                retry_after_s=RETRY_AFTER_S,
            )

    def _use_reserve(self) -> None:
        """Frees the reserve, and empties the log, so that transactions can use its space again."""
        if self._reserve.held:
            log.warning("the disk of the session store is full: the reserve is used to delete sessions")
        self._reserve.release()
        connection = self._connections[0]
        connection.execute("PRAGMA secure_delete = FAST").fetchall()  # no zeros into pages that are only given back
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    async def _read(self, read: Callable[[], ResultT]) -> ResultT:
        def checked() -> ResultT:
            self._lock.check()
            return read()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, checked)
        except sqlite3.Error as error:
            raise _store_error(error) from error


def _connect(path: Path, *, per_owner: bool = False) -> sqlite3.Connection:
    """Returns a connection that any thread may use. Raises: UnusableStoreError."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            SqlTable.set_up(connection, per_owner=per_owner)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, UnusableStoreError) as error:
        raise UnusableStoreError(f"the session store {path} cannot be opened: {error}") from error
    return connection


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _FULL


def _store_error(error: sqlite3.Error) -> StoreFullError | StoreDataLossError | StoreUnavailableError:
    """Returns the error that reports a failure of the database to the caller."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if _is_full(error):
        return StoreFullError(f"the session store has no room: {error}", retry_after_s=RETRY_AFTER_S)
    if code in _DAMAGED:
        return StoreDataLossError(f"the session store is damaged: {error}")
    return StoreUnavailableError(f"the session store failed: {error}", retry_after_s=RETRY_AFTER_S)
