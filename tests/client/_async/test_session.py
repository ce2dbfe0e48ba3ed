"""A session through the asyncio client: the same life as through the blocking one."""

import asyncio
from pathlib import Path

import pytest
from google.protobuf.message import Message

from seqserve.client import AsyncClient, ServableMismatchError, SessionNotFoundError
from seqserve.client.testing import ScriptedServer
from tests.client.rig import GONE, ids, loses_answers


async def test_the_life_of_a_session(async_server: ScriptedServer, async_client: AsyncClient, tmp_path: Path) -> None:
    async with async_client.session("m", "mine", keep_tokens=True) as session:
        assert await session.generate("ab", checkpoint="first").text() == "ab"
        assert (await session.score("abc")).logprob == -3.0
        assert session.position == (await session.info()).position == 7
        async with await session.fork(checkpoint="first") as copy:
            assert (copy.position, ids(async_server)) == (4, sorted(["mine", copy.id]))
        assert (await session.rewind("first")).position == session.position == 4
        assert (await session.touch(9.0)).ttl_s == 9.0
        await session.save(tmp_path / "file")
    assert [one.id for one in await async_client.sessions.list()] == ["mine"]
    async with async_client.session("m", "mine") as again:
        assert again.position == 4
    with pytest.raises(ServableMismatchError):
        await async_client.session("other", "mine").open()
    async with await async_client.sessions.load(tmp_path / "file") as loaded:
        assert (loaded.position, loaded.keep) == (4, False)
    await (await async_client.sessions.open("mine")).delete()
    with pytest.raises(SessionNotFoundError):
        await async_client.sessions.get("mine")
    assert ids(async_server) == []


async def test_answers_that_get_lost_change_nothing(async_server: ScriptedServer) -> None:
    loses_answers(async_server)
    async with AsyncClient(async_server.target, resume_s=20.0) as client:
        await client.models()
        async with client.session("m") as session:
            await session.generate("ab", checkpoint="first").text()
            async with await session.fork() as copy, await client.sessions.restore(await copy.export()):
                assert len(ids(async_server)) == 3
            assert (await session.rewind("first")).position == 4
        assert ids(async_server) == []


@pytest.mark.timeout(60)
async def test_a_cancelled_task_ends_its_session(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    opened = asyncio.Event()

    async def use() -> None:
        async with async_client.session("m"):
            opened.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ids(async_server) == []


@pytest.mark.timeout(60)
async def test_the_blocks_own_error_is_told(async_server: ScriptedServer) -> None:
    async def removed(request: object) -> Message:
        raise GONE

    async def use() -> None:
        async with AsyncClient(async_server.target, resume_s=3600.0) as client, client.session("m"):
            async_server.on_session = removed
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()
