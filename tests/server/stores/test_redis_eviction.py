"""A Redis that evicts damages single sessions, which can be deleted; faults that last are told from those that pass."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ResponseError

from seqserve.server.errors import StoreDataLossError, StoreUnavailableError, StoreUnusableError
from seqserve.server.stores.store import SessionKey
from tests.processes.redis_server import redis_server
from tests.server.stores.rig import LONG_S, a_record
from tests.server.stores.test_redis import inside, replica

MEMBER = "2:me:one"


@pytest.fixture
async def url(redis_url: str) -> str:
    async with inside(redis_url) as commands:
        await commands.flushall()
    return redis_url


@pytest.mark.parametrize("kind", ["session", "body"])
async def test_a_session_that_lost_a_part_is_data_loss_and_can_be_deleted(url: str, kind: str) -> None:
    async with replica(url) as store, inside(url) as commands:
        record, _ = await store.create(a_record())
        other, _ = await store.create(a_record("two"))
        assert await commands.delete(f"seqserve:{kind}:{MEMBER}")
        for call in (store.read(record.key), store.touch(record.key, None), store.create(a_record())):
            with pytest.raises(StoreDataLossError, match="has lost a part of session 'one'"):
                await call
        assert await store.list("me", "", "", 5) == [other]
        assert await store.list("me", "lstm", "", 5) == [other]
        assert await store.delete(record.key)
        assert not await store.delete(record.key)
        assert await store.read(record.key) is None
        again, created = await store.create(a_record())
        assert created
        assert await store.list("me", "", "", 5) == [again, other]
        assert (await store.usage()).sessions == 2


@pytest.mark.parametrize("kind", ["session", "body"])
async def test_a_session_that_lost_a_part_while_a_request_advances_it(url: str, kind: str) -> None:
    """The state is in the request's hands: it replaces a body that is lost, and cannot vouch for a record that is."""
    async with replica(url, LONG_S) as store, inside(url) as commands:
        record, _ = await store.create(a_record())
        lease = await store.acquire(record.key, "request")
        assert await commands.delete(f"seqserve:{kind}:{MEMBER}")
        assert await store.renew(lease)
        if kind == "body":
            written = await store.write(replace(record, body=b"after", position=9), lease)
            assert await store.read(record.key) == written
            assert (await store.usage()).bytes == len(b"after")
        else:
            with pytest.raises(StoreDataLossError):
                await store.write(replace(record, body=b"after"), lease)
            assert await store.delete(record.key)


async def test_fences_rise_although_their_counter_was_evicted(url: str) -> None:
    async with replica(url, LONG_S) as store, inside(url) as commands:
        record, _ = await store.create(a_record())
        for _ in range(5):
            first = await store.acquire(record.key, "request")
        await commands.delete("seqserve:fence")
        second = await store.acquire(record.key, "request")
        assert second.fence > first.fence
        await store.write(replace(record, position=4), second)


async def test_indices_that_were_evicted_leave_sessions_usable(url: str) -> None:
    async with replica(url, LONG_S) as store, inside(url) as commands:
        record, _ = await store.create(a_record())
        indices = ("seqserve:expiry", "seqserve:owner:me", f"seqserve:digest:{record.digest}", "seqserve:bytes")
        await commands.delete(*indices)
        assert await store.list("me", "", "", 5) == []
        lease = await store.acquire(record.key, "request")
        written = await store.write(replace(record, position=4), lease)
        assert await store.list("me", "", "", 5) == [written]
        assert await store.delete(record.key)
        usage = await store.usage()
        assert (usage.sessions, usage.bytes) == (0, 0)


async def test_a_redis_that_really_evicts_breaks_no_call_of_the_others(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server("--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru") as url:
        async with replica(url) as store:
            await store.sweep()
            assert any("evicts keys (maxmemory-policy allkeys-lru)" in message for message in caplog.messages)
            lost = 0
            for number in range(400):
                await store.create(a_record(f"{number:03}", body=os.urandom(20_000)))
            page = await store.list("me", "", "", 1000)
            assert len(page) < 400
            for number in range(400):
                key = SessionKey("me", f"{number:03}")
                try:
                    record = await store.read(key)
                except StoreDataLossError:
                    lost += 1
                    assert await store.delete(key)
                else:
                    assert record is None or len(record.body) == 20_000
            assert lost
            await store.sweep()


async def result(url: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of a Redis that cannot be used, where calls fail for good."""
    caplog.set_level(logging.INFO, "seqserve")
    async with replica(url) as store:
        with pytest.raises(StoreUnusableError, match="cannot be used as it is configured") as refused:
            await store.create(a_record())
        assert refused.value.retry_after_s is None
        with contextlib.suppress(StoreUnusableError):  # a sweep that finds nothing writes nothing
            await store.sweep()
    return caplog.messages


async def test_a_replica_is_a_fault_that_lasts(url: str, caplog: pytest.LogCaptureFixture) -> None:
    host, port = url.removeprefix("redis://").split(":")
    with redis_server("--replicaof", f"{host} {port}", "--replica-serve-stale-data", "yes") as follower:
        assert any("is a replica, which cannot be written" in message for message in await result(follower, caplog))


async def test_a_cluster_is_a_fault_that_lasts(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server("--cluster-enabled", "yes") as url:
        async with inside(url) as commands:
            await commands.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        assert any("is a Cluster, which sessions cannot use" in message for message in await result(url, caplog))


async def test_missing_rights_are_a_fault_that_lasts(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server("--requirepass", "secret") as url, pytest.raises(StoreUnusableError):
        async with replica(url) as store:
            await store.create(a_record())


async def test_a_redis_that_is_busy_or_cannot_write_to_its_disk_is_a_fault_that_passes(url: str) -> None:
    async with replica(url) as store:
        for message in ("BUSY Redis is busy running a script", "MISCONF Redis is configured to save RDB snapshots"):

            async def fails(text: str = message) -> Any:
                raise ResponseError(text)

            with pytest.raises(StoreUnavailableError) as failed:
                await store._call(fails)
            assert failed.value.retry_after_s
