"""Every store does what a dictionary would do, whatever happens to it in whatever order."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from seqserve.server.errors import LeaseLostError, SessionBusyError, SessionNotFoundError
from seqserve.server.stores import Lease, Record, SessionKey
from tests.server.stores.rig import KINDS, LONG_S, Rig, a_record, rig

OWNERS, IDS, HOLDERS = ("", "me"), ("a", "b", "c"), ("r1", "r2")
TTLS = st.sampled_from([None, LONG_S, 2 * LONG_S])
KEYS = st.builds(SessionKey, st.sampled_from(OWNERS), st.sampled_from(IDS))
RECORDS = st.builds(
    lambda key, **values: a_record(key.id, key.owner, **values),
    KEYS,
    model=st.sampled_from(["m", "n"]),
    digest=st.sampled_from(["d", "e"]),
    position=st.integers(0, 2**40),
    body=st.binary(min_size=1, max_size=40),
    ttl_s=st.sampled_from([LONG_S, 2 * LONG_S]),
)


@dataclass
class Taken:
    """A lease that was given out, and the session that its holder read."""

    lease: Lease
    read: Record | None


class StoreWalk(RuleBasedStateMachine):
    """A store beside its model: a dictionary of records, a dictionary of leases, and the time."""

    kind = ""
    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.rig: Rig = self.run(self.stack.enter_async_context(rig(self.kind, folder, lambda: self.redis_url)))
        self.store = self.rig.store
        self.records: dict[SessionKey, Record] = {}
        self.held: dict[SessionKey, Lease] = {}
        self.taken: list[Taken] = []
        self.fence = 0

    def run(self, call: Any) -> Any:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    def keep(self, given: Record, stored: Record) -> None:
        """Check what the store gave back, and remember it."""
        assert stored == replace(
            given, created_s=stored.created_s, updated_s=stored.updated_s, expires_s=stored.expires_s
        )
        self.records[given.key] = stored

    @rule(record=RECORDS)
    def create(self, record: Record) -> None:
        existing, created = self.run(self.store.create(record))
        assert created == (record.key not in self.records)
        if created:
            self.keep(record, existing)
        assert existing == self.records[record.key]
        self.run(self.rig.pass_time(1e-4))  # two sessions of one id differ in their time

    @rule(key=KEYS, holder=st.sampled_from(HOLDERS))
    def acquire(self, key: SessionKey, holder: str) -> None:
        existing = self.held.get(key)
        if existing is not None and existing.holder != holder:
            with pytest.raises(SessionBusyError):
                self.run(self.store.acquire(key, holder))
            return
        lease = self.held[key] = self.run(self.store.acquire(key, holder))
        assert lease.fence > self.fence
        self.fence = lease.fence
        self.taken.append(Taken(lease, self.records.get(key)))

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), body=st.binary(min_size=1, max_size=40), digest=st.sampled_from(["d", "e"]), ttl_s=TTLS)
    def write(self, data: st.DataObject, body: bytes, digest: str, ttl_s: float | None) -> None:
        taken = data.draw(st.sampled_from(self.taken))
        if taken.read is None or self.held.get(taken.lease.key) is None:
            return  # who has read nothing has nothing to write; who has given back does not write
        existing = self.records.get(taken.lease.key)
        record = replace(taken.read, body=body, digest=digest, position=taken.read.position + 1)
        if existing is None or existing.created_s != record.created_s:
            with pytest.raises(SessionNotFoundError):
                self.run(self.store.write(record, taken.lease))
        elif self.held[taken.lease.key] != taken.lease:
            with pytest.raises(LeaseLostError):
                self.run(self.store.write(record, taken.lease))
        else:
            written = self.run(self.store.write(record, taken.lease, ttl_s))
            self.keep(replace(record, ttl_s=ttl_s or existing.ttl_s), written)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.taken)).lease
        assert self.run(self.store.renew(lease)) == (self.held.get(lease.key) == lease)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.taken)).lease
        self.run(self.store.release(lease))
        if self.held.get(lease.key) == lease:
            del self.held[lease.key]

    @rule(key=KEYS, ttl_s=TTLS)
    def touch(self, key: SessionKey, ttl_s: float | None) -> None:
        existing, before = self.run(self.store.touch(key, ttl_s)), self.records.get(key)
        assert (existing is None) == (before is None)
        if before is not None:
            self.keep(replace(before, ttl_s=ttl_s or before.ttl_s), existing)

    @rule(key=KEYS)
    def delete(self, key: SessionKey) -> None:
        assert self.run(self.store.delete(key)) == (key in self.records)
        if self.records.pop(key, None) is not None:
            self.held.pop(key, None)

    @rule()
    def sweep(self) -> None:
        assert self.run(self.store.sweep()) == 0

    @precondition(lambda self: self.kind != "redis")
    @rule()
    def let_all_expire(self) -> None:
        self.run(self.rig.pass_time(3 * LONG_S))
        removed = {key for key in self.records if key not in self.held}
        for key in removed:
            assert self.run(self.store.read(key)) is None
            del self.records[key]
        assert self.run(self.store.sweep()) == len(removed)
        for key in self.records:  # the sweep restarted their lifetime
            self.records[key] = self.run(self.store.read(key))

    @rule(key=KEYS)
    def read(self, key: SessionKey) -> None:
        assert self.run(self.store.read(key)) == self.records.get(key)

    @rule(
        owner=st.sampled_from(OWNERS),
        model=st.sampled_from(["", "m"]),
        after=st.sampled_from(["", *IDS]),
        count=st.integers(1, 3),
    )
    def page(self, owner: str, model: str, after: str, count: int) -> None:
        numbers = sorted(
            (r for r in self.records.values() if r.key.owner == owner and r.key.id > after and model in ("", r.model)),
            key=lambda record: record.key,
        )
        assert self.run(self.store.list(owner, model, after, count)) == numbers[:count]

    @invariant()
    def totals_are_right(self) -> None:
        usage = self.run(self.store.usage())
        bodies = [record.body for record in self.records.values()]
        assert (usage.sessions, usage.bytes, usage.evicted) == (len(bodies), sum(map(len, bodies)), 0)
        for digest in ("d", "e"):
            of_it = [record for record in self.records.values() if record.digest == digest]
            assert self.run(self.store.count_of_servable(digest)) == len(of_it)


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_is_a_dictionary(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("redis_url") if kind == "redis" else ""
    walk = type("Walk", (StoreWalk,), {"kind": kind, "redis_url": url})
    run_state_machine_as_test(
        walk, settings=settings(max_examples=20, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow])
    )
