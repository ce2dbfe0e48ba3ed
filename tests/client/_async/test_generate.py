"""Generation through the asyncio client, over a real connection."""

import asyncio
from collections.abc import AsyncGenerator

import grpc
import pytest

from seqserve.client import AsyncClient, CallCancelledError, DeadlineError, FinishReason, ProtocolError, QueueFullError
from seqserve.client.testing import Failure, ScriptedServer, piece, started
from seqserve.v1 import generation_pb2, tagging_pb2

Request = generation_pb2.GenerateRequest
Events = AsyncGenerator[generation_pb2.GenerateResponse, None]

WAIT_S = 20.0


async def endless(request: Request) -> Events:
    """One piece, then silence."""
    yield started()
    yield piece("a")
    await asyncio.Event().wait()


async def cancelled(server: ScriptedServer) -> bool:
    return await asyncio.to_thread(server.cancelled.wait, WAIT_S)


async def test_pieces_come_with_text_tokens_and_position(async_client: AsyncClient) -> None:
    async with async_client.generate("m", "ab", seed=7) as stream:
        pieces = [one async for one in stream]
    assert [(one.text, one.token_ids, one.position) for one in pieces] == [("a", (97,), 2), ("b", (98,), 3)]
    assert (stream.started.seed, stream.finished.reason) == (7, FinishReason.LENGTH)


async def test_text_reads_to_the_end(async_client: AsyncClient) -> None:
    assert await async_client.generate("m", "whole text").text() == "whole text"


async def test_many_streams_at_once_are_kept_apart(async_client: AsyncClient) -> None:
    prompts = [f"prompt {index}" for index in range(50)]
    assert await asyncio.gather(*(async_client.generate("m", prompt).text() for prompt in prompts)) == prompts


async def test_leaving_the_loop_cancels_on_the_server(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    async_server.on_generate = endless
    stream = async_client.generate("m")
    async for one in stream:
        assert one.text == "a"
        break
    assert await cancelled(async_server)
    assert await stream.text() == "a"


async def test_leaving_the_block_cancels_on_the_server(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    async_server.on_generate = endless
    async with async_client.generate("m") as stream:
        await stream.start()
    assert await cancelled(async_server)


async def test_cancelling_the_task_cancels_on_the_server(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    reading = asyncio.Event()

    async def one_piece_then_silence(request: Request) -> Events:
        yield started()
        reading.set()
        await asyncio.Event().wait()

    async_server.on_generate = one_piece_then_silence
    task = asyncio.create_task(async_client.generate("m").text())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await cancelled(async_server)


async def test_cancel_from_another_task_ends_the_iteration(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    async_server.on_generate = endless
    stream = async_client.generate("m")
    texts = []
    async for one in stream:
        texts.append(one.text)
        asyncio.get_running_loop().call_soon(stream.cancel)
    assert texts == ["a"]
    assert await cancelled(async_server)


async def test_cancelled_before_it_began_it_asks_for_nothing(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    stream = async_client.generate("m", "text")
    stream.cancel()
    assert [one async for one in stream] == []
    assert async_server.requests == []


async def test_closing_the_client_ends_its_streams_and_calls(async_server: ScriptedServer) -> None:
    async def never(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        asking.set()
        await asyncio.Event().wait()
        raise AssertionError

    asking = asyncio.Event()
    async_server.on_generate, async_server.on_tag = endless, never
    client = AsyncClient(async_server.target)
    stream = client.generate("m")
    pieces = aiter(stream)
    await anext(pieces)
    waiting = [asyncio.ensure_future(anext(pieces)), asyncio.ensure_future(client.tag("m", "text"))]
    await asking.wait()
    await client.close()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, CallCancelledError)
    with pytest.raises(RuntimeError, match="closed"):
        await client.tag("m", "text")


async def test_silence_ends_a_stream_after_the_time_out(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    async_server.on_generate = endless
    with pytest.raises(DeadlineError, match=r"sent nothing for 0\.05 s"):
        await async_client.generate("m", timeout_s=0.05).text()
    assert await cancelled(async_server)


async def test_a_callers_own_time_out_stays_the_callers(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    async_server.on_generate = endless
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await async_client.generate("m").text()
    assert await cancelled(async_server)


async def test_a_deadline_ends_the_whole(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    async_server.on_generate = endless
    with pytest.raises(DeadlineError, match=r"within 0\.1 s"):
        await async_client.generate("m", deadline_s=0.1).text()


async def test_refusals_and_broken_contracts_are_errors(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    async def refuse(request: Request) -> Events:
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL", "256 waiting")
        yield started()

    async def headless(request: Request) -> Events:
        yield piece("a")

    async_server.on_generate = refuse
    with pytest.raises(QueueFullError, match="256 waiting"):
        await async_client.generate("m").start()
    async_server.on_generate = headless
    with pytest.raises(ProtocolError, match="piece"):
        await async_client.generate("m").start()
