"""Streams that a source feeds, through the asyncio client and over a real connection."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import grpc
import pytest

from seqserve.client import (
    FLUSH,
    SENTENCE_END,
    AsyncClient,
    CallCancelledError,
    ProtocolError,
    QueueFullError,
    StreamEnd,
    TagItem,
    TaskMismatchError,
    UnavailableError,
)
from seqserve.client.testing import SERVABLE, Failure, ScriptedServer
from seqserve.v1 import common_pb2, tagging_pb2

WAIT_S = 20.0
Requests = AsyncIterator[tagging_pb2.StreamTagRequest]
Events = AsyncGenerator[tagging_pb2.StreamTagResponse, None]

STARTED = tagging_pb2.StreamTagResponse(started=tagging_pb2.StreamTagStarted(servable=SERVABLE))


async def cancelled(server: ScriptedServer) -> bool:
    return await asyncio.to_thread(server.cancelled.wait, WAIT_S)


async def then_waits(*pieces: str) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece
    await asyncio.Event().wait()


async def test_an_async_source_and_a_plain_one_are_answered_the_same(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    items: list[TagItem] = ["He", "llo wor", "ld\n", SENTENCE_END, FLUSH, ["again"]]

    async def one_by_one() -> AsyncIterator[TagItem]:
        for item in items:
            yield item

    plain = async_client.stream_tag("m", items)
    tags = [tag async for tag in plain]
    assert [(tag.token, tag.start, tag.position) for tag in tags] == [
        ("Hello", 0, 0),
        ("world", 6, 1),
        ("again", 12, 2),
    ]
    assert (plain.started.position, plain.finished.tokens, plain.finished.reason) == (0, 3, StreamEnd.INPUT)
    assert [tag async for tag in async_client.stream_tag("m", one_by_one())] == tags
    assert async_server.requests[: len(items) + 1] == async_server.requests[len(items) + 1 :]


async def test_pieces_hold_what_came_together(async_client: AsyncClient) -> None:
    stream = async_client.stream_tag("m", ["a b c", " "])
    assert [[tag.token for tag in piece.tags] async for piece in stream.pieces()] == [["a", "b"], ["c"]]


async def test_scores_come_with_their_places(async_client: AsyncClient) -> None:
    stream = async_client.stream_score("m", ["a", [98]], logprobs=1)
    assert [(one.chosen.token, one.start, one.end) async for one in stream] == [("a", 0, 1), ("b", 1, 2)]
    assert stream.finished.scored_tokens == 2


async def test_what_a_text_is_comes_after_each_piece(async_client: AsyncClient) -> None:
    stream = async_client.stream_classify("m", ["one ", "two"])
    assert [answer.tokens async for answer in stream] == [1, 2]
    assert stream.finished.classification is not None


async def test_a_source_may_wait_for_the_answer_to_what_it_gave(async_client: AsyncClient) -> None:
    answers = asyncio.Queue[str]()

    async def one_by_one() -> AsyncIterator[str]:
        for word in ("one ", "two ", "three "):
            yield word
            assert await answers.get() == word.strip()

    async with asyncio.timeout(WAIT_S):
        async for tag in async_client.stream_tag("m", one_by_one()):
            answers.put_nowait(tag.token)
    assert answers.empty()


async def test_many_streams_at_once_are_kept_apart(async_client: AsyncClient) -> None:
    async def tokens(text: str) -> str:
        return " ".join([tag.token async for tag in async_client.stream_tag("m", iter(text))])

    texts = [f"text number {index}" for index in range(50)]
    assert await asyncio.gather(*map(tokens, texts)) == texts


async def test_what_the_source_raises_comes_to_the_reader(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    answered = asyncio.Event()

    async def fails() -> AsyncIterator[str]:
        yield "one "
        await answered.wait()
        raise KeyError("no more")

    stream = async_client.stream_tag("m", fails())
    tags = aiter(stream)
    assert (await anext(tags)).token == "one"
    answered.set()
    with pytest.raises(KeyError, match="no more"):
        await anext(tags)
    assert await cancelled(async_server), "what was half said is not taken for all"
    with pytest.raises(RuntimeError, match="not finished"):
        _ = stream.finished


async def test_a_source_that_was_cancelled_by_itself_is_told(async_client: AsyncClient) -> None:
    async def gives_up() -> AsyncIterator[str]:
        yield "one "
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        _ = [tag async for tag in async_client.stream_tag("m", gives_up())]


async def test_what_is_no_piece_is_told(async_client: AsyncClient) -> None:
    with pytest.raises(TypeError, match="an item of type NoneType"):
        _ = [tag async for tag in async_client.stream_tag("m", ["one ", None])]  # type: ignore[list-item]


async def test_leaving_the_loop_cancels_on_the_server_and_in_the_source(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    put_away = asyncio.Event()

    async def waits() -> AsyncIterator[str]:
        try:
            async for piece in then_waits("one two "):
                yield piece
        finally:
            put_away.set()

    async for tag in async_client.stream_tag("m", waits()):
        assert tag.token == "one"
        break
    assert await cancelled(async_server)
    async with asyncio.timeout(WAIT_S):
        await put_away.wait()


async def test_leaving_the_block_waits_for_the_source(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    steps = list[str]()

    async def puts_away() -> AsyncIterator[str]:
        try:
            async for piece in then_waits("one "):
                yield piece
        finally:
            await asyncio.sleep(0)
            steps.append("put away")

    async with async_client.stream_tag("m", puts_away()) as stream:
        async for _ in stream:
            break
    assert steps == ["put away"]
    assert await cancelled(async_server)


async def test_cancelling_the_task_cancels_on_the_server(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    reading = asyncio.Event()

    async def read() -> None:
        async for _ in async_client.stream_tag("m", then_waits("one two ")):
            reading.set()

    task = asyncio.create_task(read())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await cancelled(async_server)


async def test_cancel_from_another_task_ends_the_iteration(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    stream = async_client.stream_tag("m", then_waits("one two "))
    tokens = []
    async for tag in stream:
        tokens.append(tag.token)
        asyncio.get_running_loop().call_soon(stream.cancel)
    assert tokens == ["one", "two"]
    assert await cancelled(async_server)


async def test_cancelled_before_it_began_it_asks_for_nothing(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    stream = async_client.stream_tag("m", ["text"])
    stream.cancel()
    assert [tag async for tag in stream] == []
    assert async_server.requests == []


async def test_closing_the_client_ends_its_streams(async_server: ScriptedServer) -> None:
    client = AsyncClient(async_server.target)
    tags = aiter(client.stream_tag("m", then_waits("one two ")))
    assert (await anext(tags)).token == "one"
    assert (await anext(tags)).token == "two"
    waiting = asyncio.ensure_future(anext(tags))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(CallCancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="closed"):
        await client.stream_tag("m", []).start()


async def test_refusals_breaks_and_broken_contracts_are_errors(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    async def refuse(requests: Requests) -> Events:
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL", "too many streams")
        yield STARTED

    async def breaks(requests: Requests) -> Events:
        yield STARTED
        async for _ in requests:
            raise Failure(grpc.StatusCode.UNAVAILABLE, "", "Socket closed")

    async def endless(requests: Requests) -> Events:
        yield STARTED

    async_server.on_stream_tag = refuse
    with pytest.raises(QueueFullError, match="too many streams"):
        await async_client.stream_tag("m", then_waits()).start()
    async_server.on_stream_tag = breaks
    with pytest.raises(UnavailableError, match="broke"):
        _ = [tag async for tag in async_client.stream_tag("m", then_waits("one "))]
    async_server.on_stream_tag = endless
    with pytest.raises(ProtocolError, match="without saying how it ended"):
        _ = [tag async for tag in async_client.stream_tag("m", then_waits("one "))]


async def test_a_refusal_is_told_whatever_is_being_sent(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    """grpcio alone tells INTERNAL where a write fails because the server has refused, in some of these."""

    async def refuse(requests: Requests) -> Events:
        raise Failure(grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_TASK_MISMATCH", "not a tagger")
        yield STARTED

    async_server.on_stream_tag = refuse
    for _ in range(100):
        async with async_client.stream_tag("m", (f"piece {index}" for index in range(100))) as stream:
            with pytest.raises(TaskMismatchError, match="not a tagger"):
                await stream.start()


async def test_a_server_that_ends_first_ends_the_source(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    async def idle(requests: Requests) -> Events:
        yield STARTED
        yield tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished(reason=common_pb2.STREAM_END_IDLE))

    async_server.on_stream_tag = idle
    async with async_client.stream_tag("m", then_waits("one ")) as stream:
        assert [tag async for tag in stream] == []
    assert stream.finished.reason is StreamEnd.IDLE
