"""Streams that a source feeds: how long either side waits for the other, and how far one may be ahead."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import pytest

from seqserve.client import AsyncClient, Client, DeadlineError
from seqserve.client.testing import SERVABLE, ScriptedServer, tag_as_it_comes
from seqserve.v1 import common_pb2, tagging_pb2

WAIT_S = 20.0
Requests = AsyncIterator[tagging_pb2.StreamTagRequest]
Events = AsyncGenerator[tagging_pb2.StreamTagResponse, None]

STARTED = tagging_pb2.StreamTagResponse(started=tagging_pb2.StreamTagStarted(servable=SERVABLE))


def waits_for(event: threading.Event, *pieces: str) -> Iterator[str]:
    """Pieces, and one more after the event."""
    yield from pieces
    event.wait(WAIT_S)
    yield "last"


async def never_gives() -> AsyncIterator[str]:
    await asyncio.Event().wait()
    yield "text"


def test_the_time_out_runs_only_while_it_is_the_servers_turn(server: ScriptedServer, client: Client) -> None:
    answered, finishing = threading.Event(), threading.Event()

    async def silent_at_the_end(requests: Requests) -> Events:
        async for event in tag_as_it_comes(requests):
            if event.HasField("finished"):
                finishing.set()
                await asyncio.Event().wait()
            yield event

    server.on_stream_tag = silent_at_the_end
    tags = iter(client.stream_tag("m", waits_for(answered, "one "), timeout_s=0.2))
    assert next(tags).token == "one"
    later = threading.Timer(0.6, answered.set)  # three time-outs, in which it is the caller's turn
    later.start()
    assert next(tags).token == "last"
    with pytest.raises(DeadlineError, match=r"sent nothing for 0\.2 s"):
        next(tags)
    assert finishing.is_set()


def test_a_server_that_does_not_begin_is_given_up(server: ScriptedServer, client: Client) -> None:
    async def never_begins(requests: Requests) -> Events:
        await asyncio.Event().wait()
        yield STARTED

    server.on_stream_tag = never_begins
    with pytest.raises(DeadlineError, match=r"sent nothing for 0\.05 s"):
        client.stream_tag("m", [], timeout_s=0.05).start()


def test_a_source_is_read_no_faster_than_the_server_takes_it(server: ScriptedServer, client: Client) -> None:
    go_on = threading.Event()
    given = 0

    async def stalls(requests: Requests) -> Events:
        yield STARTED
        await asyncio.to_thread(go_on.wait, WAIT_S)
        count = 0
        async for _ in requests:
            count += 1
        yield tagging_pb2.StreamTagResponse(
            finished=tagging_pb2.StreamTagFinished(tokens=count, reason=common_pb2.STREAM_END_INPUT)
        )

    def fast() -> Iterator[str]:
        nonlocal given
        while given < 2000:
            given += 1
            yield "x" * 10_000

    server.on_stream_tag = stalls
    with client.stream_tag("m", fast()) as stream:
        stream.start()
        seen = -1
        while seen != given:  # until it stands still, which nothing but time can tell
            seen = given
            threading.Event().wait(0.2)
        assert 0 < given < 1000, "20 MB would have gathered somewhere"
        go_on.set()
        assert list(stream) == []
    assert stream.finished.tokens == 2001


async def test_asyncio_the_time_out_runs_only_while_it_is_the_servers_turn(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    answered = asyncio.Event()

    async def silent_at_the_end(requests: Requests) -> Events:
        async for event in tag_as_it_comes(requests):
            if event.HasField("finished"):
                await asyncio.Event().wait()
            yield event

    async def slow() -> AsyncIterator[str]:
        yield "one "
        await answered.wait()
        yield "two "

    async_server.on_stream_tag = silent_at_the_end
    tags = aiter(async_client.stream_tag("m", slow(), timeout_s=0.2))
    assert (await anext(tags)).token == "one"
    asyncio.get_running_loop().call_later(0.6, answered.set)  # three time-outs, in which it is the caller's turn
    assert (await anext(tags)).token == "two"
    with pytest.raises(DeadlineError, match=r"sent nothing for 0\.2 s"):
        await anext(tags)


async def test_asyncio_a_server_that_does_not_begin_is_given_up(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    async def never_begins(requests: Requests) -> Events:
        await asyncio.Event().wait()
        yield STARTED

    async_server.on_stream_tag = never_begins
    with pytest.raises(DeadlineError, match=r"sent nothing for 0\.05 s"):
        await async_client.stream_tag("m", never_gives(), timeout_s=0.05).start()


async def test_asyncio_a_source_is_read_no_faster_than_the_server_takes_it(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    go_on = asyncio.Event()
    given = 0

    async def stalls(requests: Requests) -> Events:
        yield STARTED
        await go_on.wait()
        count = 0
        async for _ in requests:
            count += 1
        yield tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished(tokens=count))

    async def fast() -> AsyncIterator[str]:
        nonlocal given
        while given < 2000:
            given += 1
            yield "x" * 10_000

    async_server.on_stream_tag = stalls
    async with async_client.stream_tag("m", fast()) as stream:
        await stream.start()
        seen = -1
        while seen != given:  # until it stands still, which nothing but time can tell
            seen = given
            await asyncio.sleep(0.2)
        assert 0 < given < 1000, "20 MB would have gathered somewhere"
        go_on.set()
        assert [tag async for tag in stream] == []
    assert stream.finished.tokens == 2001
