"""Records in a SQLite database: a table, its indices, and totals that triggers maintain.

A connection belongs to one thread at a time. The caller begins and ends transactions.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from seqserve.server.errors import UnusableStoreError
from seqserve.server.stores.store import Record, SessionKey, Usage

FORMAT = 1  # of the file, stored in its user_version

# A page of 8 KiB has room for three sessions of 2.5 KB, or one of 8 KB, with little waste.
_PAGE_BYTES = 8192

# A row without a body is a tombstone. Rows are stored by rowid: if big rows were in the leaves of the primary key,
# every search would read them.
_SCHEMA = """
CREATE TABLE session (
    owner TEXT NOT NULL, id TEXT NOT NULL, model TEXT NOT NULL, digest TEXT NOT NULL, position INTEGER NOT NULL,
    ttl_s REAL NOT NULL, created_s REAL NOT NULL, updated_s REAL NOT NULL, expires_s REAL NOT NULL,
    size INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX session_key ON session (owner, id);
CREATE INDEX session_live ON session (expires_s) WHERE size > 0;
CREATE INDEX session_tombstone ON session (expires_s) WHERE size = 0;
CREATE TABLE total (digest TEXT PRIMARY KEY, sessions INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER session_added AFTER INSERT ON session WHEN new.size > 0 BEGIN
    INSERT INTO total VALUES (new.digest, 1, new.size)
    ON CONFLICT DO UPDATE SET sessions = sessions + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER session_removed AFTER DELETE ON session WHEN old.size > 0 BEGIN
    UPDATE total SET sessions = sessions - 1, bytes = bytes - old.size WHERE digest = old.digest;
    DELETE FROM total WHERE digest = old.digest AND sessions = 0;
END;
CREATE TRIGGER session_changed AFTER UPDATE ON session WHEN (old.size, old.digest) <> (new.size, new.digest) BEGIN
    UPDATE total SET sessions = sessions - 1, bytes = bytes - old.size WHERE digest = old.digest AND old.size > 0;
    DELETE FROM total WHERE digest = old.digest AND sessions = 0;
    INSERT INTO total SELECT new.digest, 1, new.size WHERE new.size > 0
    ON CONFLICT DO UPDATE SET sessions = sessions + 1, bytes = bytes + new.size;
END;
"""

_COLUMNS = "owner, id, model, digest, position, ttl_s, body, created_s, updated_s, expires_s"


class SqlTable:
    """Records in a database, a `Table` of `SessionRules`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def set_up(cls, connection: sqlite3.Connection, *, per_owner: bool = False) -> None:
        """Creates the tables of a new database.

        Args:
            connection: The database.
            per_owner: Whether `usage_of` is called often, so that it needs an index.

        Raises:
            UnusableStoreError: The format of the database is unknown.
            sqlite3.Error: The database failed.
        """
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.executescript(f"BEGIN; PRAGMA user_version = {FORMAT}; {_SCHEMA} COMMIT;")
        elif version != FORMAT:
            raise UnusableStoreError(f"its format must be {FORMAT}, got {version}")
        if per_owner:
            connection.execute("CREATE INDEX IF NOT EXISTS session_usage ON session (owner, size) WHERE size > 0")

    def get(self, key: SessionKey) -> Record | None:
        """See Table.get."""
        rows = self._rows("WHERE owner = ? AND id = ?", key.owner, key.id)
        return rows[0] if rows else None

    def put(self, record: Record) -> None:
        """See Table.put."""
        self._connection.execute(
            f"INSERT INTO session ({_COLUMNS}, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constant
            " ON CONFLICT DO UPDATE SET model = excluded.model, digest = excluded.digest, position = excluded.position,"
            " ttl_s = excluded.ttl_s, body = excluded.body, created_s = excluded.created_s,"
            " updated_s = excluded.updated_s, expires_s = excluded.expires_s, size = excluded.size",
            (
                record.key.owner, record.key.id, record.model, record.digest, record.position, record.ttl_s,
                record.body, record.created_s, record.updated_s, record.expires_s, len(record.body),
            ),
        )  # fmt: skip

    def remove(self, key: SessionKey) -> None:
        """See Table.remove."""
        self._connection.execute("DELETE FROM session WHERE owner = ? AND id = ?", (key.owner, key.id))

    def page(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """See Table.page."""
        return self._rows(
            "WHERE owner = ? AND id > ? AND size > 0 AND (? = '' OR model = ?) ORDER BY id LIMIT ?",
            owner,
            after,
            model,
            model,
            count,
        )

    def due(self, before_s: float, count: int) -> list[Record]:
        """See Table.due."""
        return self._rows("WHERE size > 0 AND expires_s <= ? ORDER BY expires_s LIMIT ?", before_s, count)

    def purge(self, before_s: float, count: int) -> int:
        """See Table.purge."""
        return self._connection.execute(
            "DELETE FROM session WHERE rowid IN"
            " (SELECT rowid FROM session WHERE size = 0 AND expires_s <= ? ORDER BY expires_s LIMIT ?)",
            (before_s, count),
        ).rowcount

    def count_of_servable(self, digest: str) -> int:
        """See Table.count_of_servable."""
        row = self._connection.execute("SELECT sessions FROM total WHERE digest = ?", (digest,)).fetchone()
        return int(row[0]) if row else 0

    def usage(self) -> Usage:
        """See Table.usage."""
        query = "SELECT coalesce(sum(sessions), 0), coalesce(sum(bytes), 0) FROM total"
        sessions, size = self._connection.execute(query).fetchone()
        return Usage(sessions, size)

    def usage_of(self, owner: str) -> Usage:
        """See Table.usage_of."""
        query = "SELECT count(*), coalesce(sum(size), 0) FROM session WHERE owner = ? AND size > 0"
        sessions, size = self._connection.execute(query, (owner,)).fetchone()
        return Usage(sessions, size)

    def _rows(self, where: str, *values: Any) -> list[Record]:
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM session {where}", values)  # noqa: S608 - constants
        return [Record(SessionKey(owner, id_), *rest) for owner, id_, *rest in rows]
