"""Where sessions are kept: a file outlives its server, a Redis is shared by several."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis.asyncio

from seqserve.server.errors import UnusableStoreError
from seqserve.server.sessions import LiveSessions
from seqserve.server.stores import SessionKey
from seqserve.server.stores.redis import RedisStore
from seqserve.v1 import session_pb2 as pb
from tests.calls import refusal
from tests.processes.redis_server import redis_server
from tests.server.sessions.wire import Caller, serving


async def test_sessions_in_a_file_go_on_in_the_next_server(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "sessions.db"
    async with serving(models) as channel:
        whole = await Caller(channel).generated("the cat", 12)
    async with serving(models, path=file) as channel:
        caller = Caller(channel, "ann")
        first = await caller.generated("the cat", 5, "r", session_id="one", create_if_absent=True)
        before = (await caller.call(pb.GetSessionRequest(session_id="one"))).session
    async with serving(models, path=file) as channel:
        caller = Caller(channel, "ann")
        assert (await caller.call(pb.GetSessionRequest(session_id="one"))).session == before
        again = await caller.generated("the cat", 5, "r", session_id="one")
        assert (again.text, again.finished.state.already_applied) == (first.text, True)
        second = await caller.generated("", 7, session_id="one", expected_position=12)
        assert first.text + second.text == whole.text


async def test_two_servers_share_the_sessions_of_one_redis(models: Path, redis_url: str) -> None:
    connection = redis.asyncio.Redis.from_url(redis_url)
    await connection.flushall()
    await connection.aclose()
    async with serving(models, redis=redis_url) as here, serving(models, redis=redis_url) as existing:
        one, other = Caller(here), Caller(existing)
        whole = await one.generated("the cat", 12)
        first = await one.generated("the cat", 5, session_id="one", create_if_absent=True)
        stream = one.generate("x", 5000, "r", session_id="one")
        await stream.read()  # started: this server holds the session
        busy = await refusal(other.generate("", session_id="one"))
        assert busy.reason == "ERROR_REASON_SESSION_BUSY"
        stream.cancel()
        second = await other.generated("", 7, session_id="one", busy_policy=2)
        assert first.text + second.text == whole.text
        assert (await one.call(pb.GetSessionRequest(session_id="one"))).session.position == 19
        running = one.generate("x", 5000, "r2", session_id="one")
        await running.read()
        retried = await other.generated("x", 3, "r2", session_id="one")  # takes it over, though the first still runs
        assert retried.finished.state.position == 23
        running.cancel()
        result = await asyncio.gather(*(each.call(pb.ListSessionsRequest()) for each in (one, other)))
        assert result[0].sessions == result[1].sessions


async def test_a_file_belongs_to_one_server(models: Path, tmp_path: Path) -> None:
    async with serving(models, path=tmp_path / "sessions.db"):
        with pytest.raises(UnusableStoreError, match="Redis"):
            await serving(models, path=tmp_path / "sessions.db").__aenter__()


async def test_a_request_that_takes_longer_than_a_lease_keeps_its_session(models: Path, redis_url: str) -> None:
    lease_s = 1.0
    async with serving(models, redis=redis_url, lease_s=lease_s) as here, serving(models, redis=redis_url) as existing:
        stream = Caller(here, "ann").generate("x", 100_000, session_id="long", create_if_absent=True)
        await stream.read()
        await asyncio.sleep(1.5 * lease_s)  # Redis has a real clock, which a test can't advance
        result = await refusal(Caller(existing, "ann").generate("x", session_id="long", create_if_absent=True))
        assert result.reason == "ERROR_REASON_SESSION_BUSY"
        stream.cancel()


async def test_a_redis_that_goes_before_a_lease_is_given_back_spoils_nothing(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    del redis_url  # there is a redis-server
    async with AsyncExitStack() as request:
        with redis_server() as url:
            live_sessions = LiveSessions(RedisStore(url, grace_s=1, lease_s=10))
            await request.enter_async_context(live_sessions.hold(SessionKey("me", "one"), "request"))
    assert "failed to release the lease of session one" in caplog.text
    await live_sessions.store.close()
