"""The Redis store: replicas share it, leases expire, and a failing Redis is an error instead of a wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlparse

import pytest
import redis.asyncio

from seqserve.server.errors import (
    LeaseLostError,
    SessionBusyError,
    StoreFullError,
    StoreUnavailableError,
    UnusableStoreError,
)
from seqserve.server.stores.redis import _CONNECTIONS_MAX, _TIMEOUT_S, RedisStore
from seqserve.server.stores.store import SessionKey, Usage
from tests.processes.redis_server import redis_server
from tests.server.stores.rig import GRACE_S, LONG_S, a_record, empty

LEASE_S = 1.0


@contextlib.asynccontextmanager
async def replica(url: str, lease_s: float = LEASE_S) -> AsyncGenerator[RedisStore]:
    """The store as one of several servers has it."""
    store = RedisStore(url, grace_s=GRACE_S, lease_s=lease_s)
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def inside(url: str) -> AsyncGenerator[Any]:
    """The Redis itself."""
    connection: Any = redis.asyncio.Redis.from_url(url)
    try:
        yield connection
    finally:
        await connection.aclose()


@pytest.fixture
async def url(redis_url: str) -> str:
    await empty(redis_url)
    return redis_url


@pytest.fixture
async def commands(url: str) -> AsyncIterator[Any]:
    async with inside(url) as connection:
        yield connection


async def test_replicas_share_sessions_and_leases(url: str) -> None:
    async with replica(url) as first, replica(url) as second:
        record, _ = await first.create(a_record())
        assert await second.read(record.key) == record
        lease = await first.acquire(record.key, "request")
        with pytest.raises(SessionBusyError):
            await second.acquire(record.key, "other")
        after = await first.write(replace(record, body=b"first"), lease)
        await first.release(lease)
        again = await second.acquire(record.key, "other")
        assert again.fence > lease.fence
        assert await second.read(record.key) == after


async def test_the_lease_of_a_killed_replica_runs_out(url: str, commands: Any) -> None:
    async with replica(url) as killed, replica(url) as other:
        record, _ = await killed.create(a_record())
        lost = await killed.acquire(record.key, "request")
        (name,) = [key async for key in commands.scan_iter("seqserve:lease:*")]
        assert 0 < await commands.pttl(name) <= LEASE_S * 1000
        await other.wait_free(record.key)
        lease = await other.acquire(record.key, "another")
        with pytest.raises(LeaseLostError):
            await killed.write(replace(record, body=b"late"), lost)
        assert not await killed.renew(lost)
        await killed.release(lost)
        assert await other.renew(lease)
        await other.write(replace(record, body=b"other"), lease)
        await other.release(lease)
        with pytest.raises(LeaseLostError):  # the fence outlives the lease
            await killed.write(replace(record, body=b"late"), lost)
        existing = await other.read(record.key)
        assert existing is not None
        assert existing.body == b"other"


async def test_a_retry_takes_the_lease_of_a_killed_replica_at_once(url: str) -> None:
    async with replica(url, LONG_S) as killed, replica(url, LONG_S) as other:
        record, _ = await killed.create(a_record())
        lost = await killed.acquire(record.key, "request")
        lease = await other.acquire(record.key, "request")
        with pytest.raises(LeaseLostError):
            await killed.write(record, lost)
        await other.write(replace(record, position=9), lease)


async def test_a_lease_that_ran_out_still_writes_if_nobody_else_had_it(url: str, commands: Any) -> None:
    async with replica(url) as store:
        record, _ = await store.create(a_record())
        lease = await store.acquire(record.key, "request")
        await store.wait_free(record.key)
        assert not await store.renew(lease)
        assert (await store.write(replace(record, position=9), lease)).position == 9
        assert not [key async for key in commands.scan_iter("seqserve:lease:*")]


async def test_a_lease_lasts_while_it_is_renewed(url: str) -> None:
    async with replica(url) as store, replica(url) as other:
        key = SessionKey("me", "one")
        lease = await store.acquire(key, "request")
        waiting = asyncio.create_task(other.wait_free(key))
        for _ in range(8):
            await asyncio.wait([waiting], timeout=LEASE_S / 4)
            assert await store.renew(lease)
        assert not waiting.done()
        await store.release(lease)
        await waiting


async def test_a_renewed_lease_keeps_its_session_alive(url: str) -> None:
    async with replica(url) as store:
        record, _ = await store.create(a_record(ttl_s=LEASE_S / 4))
        lease = await store.acquire(record.key, "request")
        for _ in range(8):
            await asyncio.sleep(LEASE_S / 4)
            assert await store.renew(lease)
        assert await store.sweep() == 0
        assert (await store.write(replace(record, position=9), lease)).position == 9


async def test_nothing_stays_in_redis_of_sessions_that_are_gone(url: str, commands: Any) -> None:
    async with replica(url) as store:
        for number in range(20):
            await store.create(a_record(f"{number}", ttl_s=0.01, owner=f"{number % 3}", digest=f"{number % 2}"))
        deleted, _ = await store.create(a_record())
        await store.acquire(deleted.key, "request")
        await store.delete(deleted.key)
        await asyncio.sleep(0.02)
        assert await store.sweep() == 20
        await asyncio.sleep(GRACE_S)
        left = {key.decode() async for key in commands.scan_iter("*")}
        assert left == {"seqserve:bytes", "seqserve:fence"}
        assert await commands.get("seqserve:bytes") == b"0"


async def test_sweeps_of_replicas_share_the_work(url: str) -> None:
    async with replica(url) as first, replica(url) as second:
        await asyncio.gather(*(first.create(a_record(f"{number}", ttl_s=0.01)) for number in range(200)))
        await asyncio.sleep(0.02)
        assert sum(await asyncio.gather(first.sweep(), second.sweep(), first.sweep())) == 200
        assert await second.usage() == Usage(0, 0)


async def test_a_long_list_of_another_model_is_passed_over(url: str) -> None:
    async with replica(url) as store:
        for start in range(0, 1100, 100):
            numbers = range(start, start + 100)
            await asyncio.gather(*(store.create(a_record(f"{number:04}", model="gru")) for number in numbers))
        await store.create(a_record("9999"))
        assert [record.key.id for record in await store.list("me", "lstm", "", 5)] == ["9999"]
        assert len(await store.list("me", "", "", 2000)) == 1101


async def test_scripts_that_redis_forgot_are_sent_again(url: str, commands: Any) -> None:
    async with replica(url) as store:
        record, _ = await store.create(a_record())
        await commands.script_flush()
        assert await store.read(record.key) == record


async def test_calls_that_are_cancelled_do_not_mix_up_answers(url: str) -> None:
    async with replica(url) as store:
        records = [(await store.create(a_record(f"{number}", body=b"%d" % number)))[0] for number in range(20)]
        for turn in range(10):
            tasks = [asyncio.create_task(store.read(record.key)) for record in records]
            for _ in range(turn):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.wait(tasks)
            for task, record in zip(tasks, records, strict=True):
                assert task.cancelled() or task.result() == record


async def test_who_is_cancelled_while_taking_or_giving_back_a_lease_leaves_none(url: str) -> None:
    async with replica(url, LONG_S) as store, replica(url) as other:
        taken = 0
        for turn in range(60):
            key = SessionKey("me", f"{turn}")
            taking = asyncio.create_task(store.acquire(key, "request"))
            for _ in range(turn % 20):
                await asyncio.sleep(0)
            taking.cancel()
            await asyncio.wait([taking])
            if not taking.cancelled():
                taken += 1
                giving_back = asyncio.create_task(store.release(taking.result()))
                await asyncio.sleep(0)
                giving_back.cancel()
                await asyncio.wait([giving_back])
            await other.acquire(key, "other")
        assert 0 < taken < 60


async def test_more_calls_than_connections_take_turns(url: str) -> None:
    async with replica(url) as store:
        answers = await asyncio.gather(*(store.create(a_record(f"{number}")) for number in range(200)))
        assert all(created for _, created in answers)
        reads = await asyncio.gather(*(store.read(record.key) for record, _ in answers))
        assert reads == [record for record, _ in answers]


async def test_a_call_that_is_cancelled_as_its_turn_comes_passes_the_turn_on(url: str) -> None:
    async with replica(url) as store:
        for _ in range(_CONNECTIONS_MAX):
            await store._slots.acquire()
        first, second = (asyncio.create_task(store.usage()) for _ in range(2))
        await asyncio.sleep(0)
        store._slots.release()  # the turn of the first
        first.cancel()
        assert await asyncio.wait_for(second, 60) == Usage(0, 0)
        for _ in range(_CONNECTIONS_MAX - 1):
            store._slots.release()


async def test_a_full_redis_refuses_and_keeps_what_is_there(redis_url: str) -> None:
    with redis_server() as url:
        async with inside(url) as connection, replica(url) as store:
            record, _ = await store.create(a_record())
            other, _ = await store.create(a_record("two"))
            lease = await store.acquire(record.key, "request")
            await connection.config_set("maxmemory", "1")
            with pytest.raises(StoreFullError, match="no room") as refused:
                await store.create(a_record("three"))
            assert refused.value.retry_after_s
            with pytest.raises(StoreFullError):
                await store.write(replace(record, body=b"more"), lease)
            with pytest.raises(StoreFullError):
                await store.acquire(other.key, "request")
            assert await store.list("me", "", "", 5) == [record, other]
            assert await store.usage() == Usage(2, 2 * len(record.body))
            assert await store.delete(other.key)
            await store.release(lease)
            await connection.config_set("maxmemory", "0")
            lease = await store.acquire(record.key, "request")
            await store.write(replace(record, body=b"more"), lease)


async def test_a_redis_that_is_gone_is_told_and_found_again(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Callers get the error; the log contains the cause once."""
    caplog.set_level("INFO", "seqserve")
    with redis_server() as url:
        port = str(urlparse(url).port)
        store = RedisStore(url, grace_s=GRACE_S, lease_s=LEASE_S)
        await store.create(a_record())
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="session store failed") as removed:
            await store.create(a_record())
        assert removed.value.retry_after_s
        assert port not in removed.value.message
    assert len([message for message in caplog.messages if "Redis" in message and port in message]) == 1
    with redis_server("--port", port):
        _, created = await store.create(a_record())
        assert created
        assert "answers again" in caplog.messages[-1]
        await store.close()


async def test_a_redis_that_hangs_is_not_waited_for(redis_url: str) -> None:
    with redis_server() as url:
        async with replica(url) as store:
            await store.create(a_record())
            async with inside(url) as connection:
                process = (await connection.info("server"))["process_id"]
            os.kill(process, signal.SIGSTOP)
            try:
                reads = [store.read(SessionKey("me", f"{number}")) for number in range(64)]
                async with asyncio.timeout(64 * _TIMEOUT_S / 2):  # one after another they would take twice that
                    failed = await asyncio.gather(*reads, return_exceptions=True)
                assert {type(each) for each in failed} == {StoreUnavailableError}
            finally:
                os.kill(process, signal.SIGCONT)
            assert await store.read(SessionKey("me", "two")) is None


async def test_a_url_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(UnusableStoreError, match="not valid"):
        RedisStore("redis://localhost:port", grace_s=GRACE_S, lease_s=LEASE_S)
