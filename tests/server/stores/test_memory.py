"""The memory store keeps its bounds, and says or moves what does not fit."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import pytest

from seqserve.server.errors import StoreFullError
from seqserve.server.stores.memory import MemoryStore, WhenFull
from seqserve.server.stores.store import Record, SessionKey, Usage
from seqserve.server.testing import ManualClock
from tests.server.stores.rig import a_record


def a_store(when_full: WhenFull, **changed: Any) -> MemoryStore:
    limits: dict[str, Any] = {"count_max": 3, "bytes_max": 1000, "grace_s": 10.0, "now": ManualClock()}
    return MemoryStore(when_full=when_full, **(limits | changed))


async def filled(store: MemoryStore, *ids: str, size: int = 10) -> list[Record]:
    return [(await store.create(a_record(id_, body=id_.encode() * size)))[0] for id_ in ids]


async def present(store: MemoryStore) -> str:
    return "".join(record.key.id for record in await store.list("me", "", "", 100))


async def test_refuse_keeps_what_is_there() -> None:
    store = a_store("refuse")
    first, *_ = await filled(store, "a", "b", "c")
    with pytest.raises(StoreFullError, match=r"'d'.* 3 of at most 3 sessions, and 30 of at most 1000 bytes") as refused:
        await filled(store, "d")
    assert refused.value.retry_after_s
    assert await present(store) == "abc"
    lease = await store.acquire(first.key, "request")
    await store.write(replace(first, body=b"x" * 980), lease)  # 1000 bytes are allowed
    with pytest.raises(StoreFullError):
        await store.write(replace(first, body=b"x" * 981), lease)
    assert await store.usage() == Usage(3, 1000)
    await store.delete(first.key)
    await filled(store, "d")
    assert await present(store) == "bcd"


async def test_evict_forgets_what_was_used_longest_ago() -> None:
    store = a_store("evict")
    first, *_ = await filled(store, "a", "b", "c")
    await store.read(first.key)
    await filled(store, "d")
    assert await present(store) == "acd"
    assert await store.read(SessionKey("me", "b")) is None
    await filled(store, "e", size=990)
    assert await present(store) == "de"
    assert (await store.usage()).evicted == 3


async def test_a_leased_session_is_not_evicted() -> None:
    store = a_store("evict")
    first, second, third = await filled(store, "a", "b", "c")
    leases = [await store.acquire(each.key, "request") for each in (first, second, third)]
    with pytest.raises(StoreFullError):
        await filled(store, "d")
    await store.release(leases[1])
    await filled(store, "d")
    assert await present(store) == "acd"


async def test_what_can_never_fit_evicts_nothing() -> None:
    store = a_store("evict")
    await filled(store, "a", "b", "c")
    with pytest.raises(StoreFullError):
        await filled(store, "d", size=1001)
    assert await present(store) == "abc"
    assert (await store.usage()).evicted == 0


async def test_spilled_sessions_come_back_as_they_were() -> None:
    store = a_store("spill")
    made = await filled(store, *"abcdefgh")
    big, _ = await store.create(a_record("i", body=b"x" * 5000))
    assert await store.usage() == Usage(9, 8 * 10 + 5000)
    for _ in range(2):
        for record in [*made, big]:
            assert await store.read(record.key) == record
    leases = [await store.acquire(record.key, "request") for record in made]
    for record, lease in zip(made, leases, strict=True):
        await store.write(replace(record, body=b"later"), lease)
    assert [record.body for record in await store.list("me", "", "", 100)] == [b"later"] * 8 + [big.body]
    await store.close()


async def test_expired_sessions_do_not_gather() -> None:
    clock = ManualClock()
    store = a_store("refuse", now=clock)
    for number in range(100):
        await store.create(a_record(f"{number}", ttl_s=1.0))
        clock.advance(2.0)
        await store.sweep()
    assert await store.read(SessionKey("me", "0")) is None
    known = [await store.read(SessionKey("me", f"{number}")) for number in range(100)]
    assert sum(record is not None for record in known) == 3  # tombstones: no more than sessions


async def test_sessions_that_come_and_go_leave_nothing_behind() -> None:
    store = a_store("refuse")
    for _ in range(500):
        (record,) = await filled(store, "a")
        for _ in range(5):
            await store.touch(record.key, None)
        await store.delete(record.key)
    assert await store.usage() == Usage(0, 0)
    assert len(store._table.memory._due) < 200


# 2,000 bodies of 64 KiB are 125 MiB; at most 4 MiB of them may be in memory.
SPILLING = """
import asyncio, resource
from seqserve.server.stores import Record, SessionKey
from seqserve.server.stores.memory import MemoryStore

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

async def main():
    store = MemoryStore(count_max=100, bytes_max=4 << 20, when_full="spill", grace_s=1.0)
    before = peak_mib()
    for number in range(2000):
        body = number.to_bytes(4, "big") * (16 << 10)
        await store.create(Record(SessionKey("", str(number)), "m", "d", 0, 100.0, body))
    for number in range(0, 2000, 7):
        record = await store.read(SessionKey("", str(number)))
        assert record.body == number.to_bytes(4, "big") * (16 << 10)
    assert (await store.usage()).bytes == 2000 << 16
    print(peak_mib() - before)
    await store.close()

asyncio.run(main())
"""


def test_spilling_bounds_the_memory() -> None:
    done = subprocess.run([sys.executable, "-c", SPILLING], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 30


@pytest.mark.parametrize("step_s", [7200.0, -7200.0])
async def test_setting_the_clock_of_the_system_neither_ends_nor_prolongs_a_session(
    step_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(count_max=10, bytes_max=1 << 20, when_full="refuse", grace_s=100.0)
    before_s = time.time()
    record, _ = await store.create(a_record(ttl_s=3600.0))
    assert before_s <= record.created_s <= time.time()
    monkeypatch.setattr(time, "time", lambda: before_s + step_s)
    assert await store.read(record.key) == record
    assert await store.sweep() == 0
    touched = await store.touch(record.key, None)
    assert touched is not None
    assert abs(touched.expires_s - record.expires_s) < 600
    await store.close()
