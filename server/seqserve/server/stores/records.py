"""Records in memory, indexed by key, last use, id and expiry."""

from __future__ import annotations

import bisect
import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterator
from itertools import islice

from seqserve.server.stores.store import Record, SessionKey, Usage


class Records:
    """Records in memory, a `Table` of `SessionRules`. Keeps only the newest tombstones."""

    def __init__(self, *, tombstones_max: int) -> None:
        self._tombstones_max = tombstones_max
        self._live: OrderedDict[SessionKey, Record] = OrderedDict()  # least recently used first
        self._tombstones: OrderedDict[SessionKey, Record] = OrderedDict()  # oldest first
        self._ids: dict[str, list[str]] = {}  # of live records by owner, sorted
        self._due: list[tuple[float, SessionKey]] = []  # a heap; outdated entries are skipped
        self._of_digest: Counter[str] = Counter()
        self._bytes = 0
        self._owner_bytes: Counter[str] = Counter()

    def get(self, key: SessionKey) -> Record | None:
        """See Table.get. Counts as a use of the record."""
        if key in self._live:
            self._live.move_to_end(key)
        return self.peek(key)

    def peek(self, key: SessionKey) -> Record | None:
        """Returns the record with this key, without counting as a use."""
        return self._live.get(key) or self._tombstones.get(key)

    def put(self, record: Record) -> None:
        """See Table.put. Counts as a use of the record."""
        self.remove(record.key)
        if not record.body:
            self._tombstones[record.key] = record
            if len(self._tombstones) > self._tombstones_max:
                self._tombstones.popitem(last=False)
            return
        self._live[record.key] = record
        bisect.insort(self._ids.setdefault(record.key.owner, []), record.key.id)
        self._of_digest[record.digest] += 1
        self._bytes += len(record.body)
        self._owner_bytes[record.key.owner] += len(record.body)
        heapq.heappush(self._due, (record.expires_s, record.key))
        if len(self._due) > 2 * len(self._live) + 64:
            self._due = [(each.expires_s, each.key) for each in self._live.values()]
            heapq.heapify(self._due)

    def remove(self, key: SessionKey) -> None:
        """See Table.remove."""
        self._tombstones.pop(key, None)
        record = self._live.pop(key, None)
        if record is None:
            return
        ids = self._ids[key.owner]
        del ids[bisect.bisect_left(ids, key.id)]
        if not ids:
            del self._ids[key.owner]
        self._of_digest[record.digest] -= 1
        if not self._of_digest[record.digest]:
            del self._of_digest[record.digest]
        self._bytes -= len(record.body)
        self._owner_bytes[record.key.owner] -= len(record.body)
        if not self._owner_bytes[record.key.owner]:
            del self._owner_bytes[record.key.owner]

    def least_recent(self) -> Iterator[Record]:
        """Returns live records, least recently used first."""
        return iter(self._live.values())

    def page(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """See Table.page."""
        ids = self._ids.get(owner, [])
        candidates = (self._live[SessionKey(owner, ids[at])] for at in range(bisect.bisect_right(ids, after), len(ids)))
        return list(islice((record for record in candidates if model in ("", record.model)), count))

    def due(self, before_s: float, count: int) -> list[Record]:
        """See Table.due."""
        due: dict[SessionKey, Record] = {}
        while len(due) < count and self._due and self._due[0][0] <= before_s:
            _, key = heapq.heappop(self._due)
            record = self._live.get(key)
            if record is not None and record.expires_s <= before_s:
                due[key] = record
        return list(due.values())

    def purge(self, before_s: float, count: int) -> int:
        """See Table.purge. A tombstone that is out of order is removed after those before it."""
        purged = 0
        while purged < count and self._tombstones:
            key, oldest = next(iter(self._tombstones.items()))
            if oldest.expires_s > before_s:
                break
            del self._tombstones[key]
            purged += 1
        return purged

    def count_of_servable(self, digest: str) -> int:
        """See Table.count_of_servable."""
        return self._of_digest[digest]

    def usage(self) -> Usage:
        """See Table.usage."""
        return Usage(len(self._live), self._bytes)

    def usage_of(self, owner: str) -> Usage:
        """See Table.usage_of."""
        return Usage(len(self._ids.get(owner, ())), self._owner_bytes[owner])
