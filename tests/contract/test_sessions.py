"""Sessions through the client's own words, kept by the real server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from seqserve.client import (
    AsyncClient,
    AsyncSession,
    CheckpointNotFoundError,
    Client,
    SeqserveError,
    ServableMismatchError,
    SessionBusyError,
    SessionExistsError,
    SessionNotFoundError,
    SnapshotInvalidError,
)
from seqserve.server.testing import running_server
from tests.conftest import MadeRepository

MODEL, PROMPT = "lstm", "the cat "
SEED = 5


@pytest.fixture
async def address(made: MadeRepository) -> AsyncIterator[str]:
    async with running_server(made.root) as address:
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as client:
        yield client


async def goes_on(session: AsyncSession, tokens: int, prompt: str = "") -> str:
    return await session.generate(prompt, max_tokens=tokens, seed=SEED).text()


async def undisturbed(client: AsyncClient, tokens: int, prompt: str = PROMPT) -> str:
    return await client.generate(MODEL, prompt, max_tokens=tokens, seed=SEED).text()


async def test_a_session_remembers_from_request_to_request(client: AsyncClient) -> None:
    whole = await undisturbed(client, 40)
    async with client.session(MODEL, ttl_s=60.0) as session:
        assert await goes_on(session, 15, PROMPT) + await goes_on(session, 25) == whole
        assert session.position == (await session.info()).position == len(PROMPT) + 40
        assert (session.model, (await session.touch(90.0)).ttl_s) == (MODEL, 90.0)
        assert [one.id for one in await client.sessions.list(MODEL)] == [session.id]
    assert await client.sessions.list() == []
    with pytest.raises(SessionNotFoundError):
        await session.info()


async def test_the_blocking_client_is_answered_the_same(address: str, client: AsyncClient, tmp_path: Path) -> None:
    def block() -> tuple[str, float]:
        with Client(address) as blocking, blocking.session(MODEL) as session:
            text = session.generate(PROMPT, max_tokens=20, seed=SEED, checkpoint="here").text()
            session.save(tmp_path / "file")
            text += session.generate(max_tokens=20, seed=SEED).text()
            session.rewind("here")
            with blocking.sessions.load(tmp_path / "file") as loaded, session.fork() as copy:
                nats = {one.score(" sat.").logprob for one in (loaded, copy, session)}
                assert len(nats) == 1
                return text, nats.pop()

    text, nats = await asyncio.to_thread(block)
    assert text == await undisturbed(client, 40)
    before, after = await client.score(MODEL, [PROMPT + text[:20], PROMPT + text[:20] + " sat."])
    assert nats == pytest.approx(after.logprob - before.logprob, abs=1e-3)


@pytest.mark.parametrize("tokens", [1, 13])
async def test_both_children_of_a_fork_go_on_as_if_there_had_been_none(client: AsyncClient, tokens: int) -> None:
    whole = await undisturbed(client, tokens + 30)
    async with client.session(MODEL) as parent:
        assert await parent.generate(PROMPT, max_tokens=tokens, seed=SEED, checkpoint="fork").text() == whole[:tokens]
        async with await parent.fork() as now:
            assert await goes_on(parent, 30) == whole[tokens:]
            async with await parent.fork(checkpoint="fork") as then:
                assert await goes_on(now, 30) == await goes_on(then, 30) == whole[tokens:]
        await parent.rewind("fork")
        assert parent.position == len(PROMPT) + tokens
        assert await goes_on(parent, 30) == whole[tokens:]
        with pytest.raises(CheckpointNotFoundError, match="available: fork"):
            await parent.rewind("spoon")


async def test_a_saved_session_goes_on_on_another_server(
    client: AsyncClient, made: MadeRepository, tmp_path: Path
) -> None:
    whole, file = await undisturbed(client, 40), tmp_path / "saved"
    async with client.session(MODEL, "mine") as session:
        assert await goes_on(session, 10, PROMPT) == whole[:10]
        await session.save(file)
    async with running_server(made.root) as elsewhere, AsyncClient(elsewhere) as other:
        async with await other.sessions.load(file, "mine") as loaded:
            assert await goes_on(loaded, 30) == whole[10:]
        with pytest.raises(SessionExistsError):
            await other.sessions.load(file, "mine")
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(SnapshotInvalidError):
            await other.sessions.load(file)


async def test_a_state_that_travels_with_its_requests_needs_no_session(
    client: AsyncClient, made: MadeRepository
) -> None:
    whole, snapshot, text = await undisturbed(client, 36), None, ""
    for tokens in (12, 24):
        async with running_server(made.root) as elsewhere, AsyncClient(elsewhere) as other:
            prompt = "" if snapshot else PROMPT
            stream = other.generate(
                MODEL, prompt, max_tokens=tokens, seed=SEED, snapshot=snapshot, return_snapshot=True
            )
            text += await stream.text()
            snapshot = stream.finished.state.snapshot
            assert await other.sessions.list() == []
    assert text == whole
    with pytest.raises(ServableMismatchError):
        await client.generate("gru", snapshot=snapshot).text()


async def test_principals_do_not_see_each_other(address: str) -> None:
    async with (
        AsyncClient(address, principal="ann") as ann,
        AsyncClient(address, principal="bob") as bob,
        ann.session(MODEL, "mine") as hers,
    ):
        text = await goes_on(hers, 10, PROMPT)
        assert await bob.sessions.list() == []
        for method in (bob.sessions.get, bob.sessions.open, bob.sessions.delete):
            with pytest.raises(SessionNotFoundError):
                await method("mine")
        async with bob.session(MODEL, "mine", keep=False) as his:
            assert his.position == 0, "a session of the same id, and his own"
            assert await goes_on(his, 10, PROMPT) == text
        assert [one.position for one in await ann.sessions.list()] == [hers.position] == [len(PROMPT) + 10]


async def test_a_busy_session_is_told_or_waited_for(client: AsyncClient) -> None:
    async with client.session(MODEL) as session:
        first = session.generate(PROMPT, max_tokens=4000, seed=SEED)
        await first.start()
        other = await client.sessions.open(session.id)
        waiting = asyncio.create_task(other.generate(max_tokens=5, seed=SEED, wait=True).text())
        with pytest.raises(SessionBusyError):
            await session.generate(max_tokens=5).text()
        text = await first.text()
        assert text + await waiting == await undisturbed(client, 4005)


async def test_a_session_of_another_model_is_not_gone_on_with(client: AsyncClient) -> None:
    await client.session(MODEL, "mine").open()
    with pytest.raises(ServableMismatchError, match="belongs to lstm version 1"):
        await client.session("gru", "mine").open()
    with pytest.raises(SeqserveError, match="version"):
        await (await client.sessions.open("mine")).generate("a", version=2).text()


async def test_chat_goes_back_to_its_beginning(address: str, client: AsyncClient, tmp_path: Path) -> None:
    lines = ["the cat", "/undo", "the cat", f"/save {tmp_path}/chat", "sat", f"/load {tmp_path}/chat", "sat", "/quit"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "seqserve.client", "chat", MODEL, "--max-tokens=20", f"--seed={SEED}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "SEQSERVE_SERVER": address, "PYTHONIOENCODING": "utf-8"},
    )
    out, err = await process.communicate("\n".join(lines).encode())
    assert process.returncode == 0, err.decode()
    first = await undisturbed(client, 20, "the cat\n")
    second = await undisturbed(client, 20, f"the cat\n{first}sat\n")
    assert out.decode() == f"{first}\n{first}\n{second}\n{second}\n"
    assert await client.sessions.list() == []
