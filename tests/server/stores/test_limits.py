"""Every store has limits on count and bytes, in total and for each owner, and keeps them to the last byte."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from seqserve.server.errors import StoreFullError
from seqserve.server.stores import Store
from seqserve.server.stores.limits import StoreLimits
from seqserve.server.stores.memory import MemoryStore
from seqserve.server.stores.redis import RedisStore
from seqserve.server.stores.sqlite import SqliteStore
from seqserve.server.stores.store import SessionKey, Usage
from tests.server.stores.rig import LONG_S, a_record, empty

KINDS = ("memory", "spill", "sqlite", "redis")


@pytest.fixture
def redis_when_needed(request: pytest.FixtureRequest) -> Callable[[], str]:
    return lambda: str(request.getfixturevalue("redis_url"))


@contextlib.asynccontextmanager
async def limited(kind: str, folder: Path, redis_url: Callable[[], str], limits: StoreLimits) -> AsyncGenerator[Store]:
    """A store with limits."""
    store: Store
    if kind == "memory":
        store = MemoryStore(
            count_max=limits.count_max or 1000,
            bytes_max=limits.bytes_max or 1 << 20,
            when_full="refuse",
            grace_s=1.0,
            limits=limits,
        )
    elif kind == "spill":
        store = MemoryStore(count_max=1, bytes_max=1 << 20, when_full="spill", grace_s=1.0, limits=limits)
    elif kind == "sqlite":
        store = SqliteStore(folder / "sessions.db", grace_s=1.0, limits=limits)
    else:
        await empty(redis_url())
        store = RedisStore(redis_url(), grace_s=1.0, lease_s=LONG_S, limits=limits)
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "limits", [StoreLimits(count_max=2), StoreLimits(bytes_max=20), StoreLimits(2, 20)], ids=["count", "bytes", "both"]
)
async def test_the_whole_store_is_limited(
    kind: str, limits: StoreLimits, tmp_path: Path, redis_when_needed: Callable[[], str]
) -> None:
    async with limited(kind, tmp_path, redis_when_needed, limits) as store:
        for number in range(2):
            _, created = await store.create(a_record(f"{number}", owner=f"{number}", body=bytes(10)))
            assert created
        with pytest.raises(StoreFullError, match="no room for session 'three'") as refused:
            await store.create(a_record("three", owner="another", body=bytes(10)))
        assert refused.value.retry_after_s
        assert await store.usage() == Usage(2, 20)
        _, created = await store.create(a_record("0", owner="0"))  # there already
        assert not created
        assert await store.delete(SessionKey("0", "0"))
        _, created = await store.create(a_record("three", owner="another", body=bytes(10)))
        assert created


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "limits", [StoreLimits(owner_count_max=2), StoreLimits(owner_bytes_max=20)], ids=["count", "bytes"]
)
async def test_one_owner_does_not_take_the_room_of_others(
    kind: str, limits: StoreLimits, tmp_path: Path, redis_when_needed: Callable[[], str]
) -> None:
    async with limited(kind, tmp_path, redis_when_needed, limits) as store:
        for number in range(2):
            await store.create(a_record(f"{number}", owner="greedy", body=bytes(10)))
        with pytest.raises(StoreFullError, match="no room for session 'three'"):
            await store.create(a_record("three", owner="greedy", body=bytes(10)))
        _, created = await store.create(a_record("three", owner="another", body=bytes(10)))
        assert created
        assert await store.delete(SessionKey("greedy", "0"))
        _, created = await store.create(a_record("three", owner="greedy", body=bytes(10)))
        assert created


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limits", [StoreLimits(bytes_max=30), StoreLimits(owner_bytes_max=30)], ids=["all", "owner"])
async def test_a_session_grows_up_to_the_limit_and_may_shrink(
    kind: str, limits: StoreLimits, tmp_path: Path, redis_when_needed: Callable[[], str]
) -> None:
    async with limited(kind, tmp_path, redis_when_needed, limits) as store:
        await store.create(a_record("other", body=bytes(10)))
        record, _ = await store.create(a_record("one", body=bytes(10)))
        lease = await store.acquire(record.key, "request")
        record = await store.write(replace(record, body=bytes(20)), lease)
        with pytest.raises(StoreFullError, match="no room for session 'one'"):
            await store.write(replace(record, body=bytes(21)), lease)
        assert await store.read(record.key) == record
        record = await store.write(replace(record, body=bytes(5)), lease)
        assert await store.usage() == Usage(2, 15)
        await store.write(replace(record, body=bytes(20)), lease)


async def test_bytes_of_an_owner_are_counted_in_data_of_before(
    tmp_path: Path, redis_when_needed: Callable[[], str]
) -> None:
    async with limited("redis", tmp_path, redis_when_needed, StoreLimits()) as before:
        await before.create(a_record("one", body=bytes(10)))
        after = RedisStore(redis_when_needed(), grace_s=1.0, lease_s=LONG_S, limits=StoreLimits(owner_bytes_max=15))
        with pytest.raises(StoreFullError, match="owner_bytes_max of the store, 15, is reached"):
            await after.create(a_record("two", body=bytes(10)))
        await after.create(a_record("two", body=bytes(5)))
        await after.close()
