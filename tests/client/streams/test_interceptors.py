"""Both clients under interceptors that wrap response streams: OpenTelemetry's, and plain iterators."""

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcInstrumentorClient

from seqserve.client import (
    CHANNEL_OPTIONS,
    AsyncClient,
    Client,
    DeadlineError,
    InvalidFieldError,
    UnavailableError,
)
from seqserve.client.testing import Failure, ScriptedServer, finished, piece, started, tag_as_it_comes
from seqserve.v1 import generation_pb2, tagging_pb2

WAIT_S = 20.0
GENERATE = AsyncGenerator[generation_pb2.GenerateResponse, None]


class Wrapping(grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Returns a plain iterator in place of the call."""

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return itertools.chain(continuation(details, request))

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return itertools.chain(continuation(details, requests))


@pytest.fixture(params=["opentelemetry", "iterator"])
def wrapped_client(request: pytest.FixtureRequest, server: ScriptedServer) -> Iterator[Client]:
    if request.param == "opentelemetry":
        instrumentor = GrpcInstrumentorClient()  # type: ignore[no-untyped-call]
        instrumentor.instrument()
        try:
            with Client(server.target, resume_s=0.0) as client:
                yield client
        finally:
            instrumentor.uninstrument()
    else:
        with grpc.insecure_channel(server.target, CHANNEL_OPTIONS) as channel:
            intercepted = grpc.intercept_channel(channel, Wrapping())
            with Client(server.target, channel=intercepted, resume_s=0.0) as client:
                yield client


def test_every_stream_works(wrapped_client: Client) -> None:
    with wrapped_client.generate("m", "echo") as stream:
        assert [one.text for one in stream] == list("echo")
        assert stream.finished.generated_tokens == 4
    assert wrapped_client.generate("m", "echo").text() == "echo"
    assert [tag.token for tag in wrapped_client.stream_tag("m", ["two ", "words"])] == ["two", "words"]
    assert len(list(wrapped_client.stream_score("m", ["ab"]))) == 2
    assert list(wrapped_client.stream_classify("m", ["a ", "b "]))
    assert wrapped_client.tag("m", "word").tags[0].token == "word"


def test_errors_keep_their_reasons(server: ScriptedServer, wrapped_client: Client) -> None:
    async def refuses(request: generation_pb2.GenerateRequest) -> GENERATE:
        yield started()
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD", "no")

    server.on_generate = refuses
    with pytest.raises(InvalidFieldError, match="no"):
        wrapped_client.generate("m").text()


def test_a_stream_that_is_left_early_is_cancelled(server: ScriptedServer, wrapped_client: Client) -> None:
    async def endless(request: generation_pb2.GenerateRequest) -> GENERATE:
        yield started()
        while True:
            yield piece("x")
            await asyncio.sleep(0)

    server.on_generate = endless
    for one in wrapped_client.generate("m"):
        assert one.text == "x"
        break
    assert server.cancelled.wait(WAIT_S)


def test_a_silent_server_is_given_up(server: ScriptedServer, wrapped_client: Client) -> None:
    async def silent(request: generation_pb2.GenerateRequest) -> GENERATE:
        yield started()
        await asyncio.Event().wait()
        yield finished(0)

    server.on_generate = silent
    with pytest.raises(DeadlineError, match=r"sent nothing for 0\.1 s"):
        wrapped_client.generate("m", timeout_s=0.1).text()


def test_another_thread_can_cancel(server: ScriptedServer, wrapped_client: Client) -> None:
    received = threading.Event()

    async def silent(request: generation_pb2.GenerateRequest) -> GENERATE:
        yield started()
        yield piece("a")
        await asyncio.Event().wait()
        yield finished(0)

    server.on_generate = silent
    stream = wrapped_client.generate("m")

    def cancel() -> None:
        received.wait(WAIT_S)
        stream.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    for one in stream:
        assert one.text == "a"
        received.set()
    thread.join()


def test_a_broken_stream_is_resumed(server: ScriptedServer) -> None:
    requests: list[generation_pb2.GenerateRequest] = []

    async def breaks_once(request: generation_pb2.GenerateRequest) -> GENERATE:
        requests.append(request)
        yield started()
        if len(requests) == 1:
            yield piece("a", 0)
            raise Failure(grpc.StatusCode.UNAVAILABLE, "", "Socket closed")
        yield piece("b", 1)
        yield finished(2)

    server.on_generate = breaks_once
    with grpc.insecure_channel(server.target, CHANNEL_OPTIONS) as channel:
        client = Client(server.target, channel=grpc.intercept_channel(channel, Wrapping()))
        assert client.generate("m").text() == "ab"


def test_a_failing_source_ends_a_wrapped_stream(server: ScriptedServer, wrapped_client: Client) -> None:
    def source() -> Iterator[str]:
        yield "one "
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(wrapped_client.stream_tag("m", source()))


@pytest.fixture
async def instrumented(async_server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    instrumentor = GrpcAioInstrumentorClient()  # type: ignore[no-untyped-call]
    instrumentor.instrument()
    try:
        async with AsyncClient(async_server.target, resume_s=0.0) as client:
            yield client
    finally:
        instrumentor.uninstrument()


async def test_asyncio_every_stream_works(instrumented: AsyncClient) -> None:
    async with instrumented.generate("m", "echo") as stream:
        assert [one.text async for one in stream] == list("echo")
    assert await instrumented.generate("m", "echo").text() == "echo"
    assert [tag.token async for tag in instrumented.stream_tag("m", ["two ", "words"])] == ["two", "words"]
    assert len([one async for one in instrumented.stream_score("m", ["ab"])]) == 2
    assert [one async for one in instrumented.stream_classify("m", ["a ", "b "])]
    assert (await instrumented.tag("m", "word")).tags[0].token == "word"


async def test_asyncio_errors_keep_their_reasons(async_server: ScriptedServer, instrumented: AsyncClient) -> None:
    async def refuses(request: generation_pb2.GenerateRequest) -> GENERATE:
        yield started()
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD", "no")

    async def stream_refuses(
        requests: AsyncIterator[tagging_pb2.StreamTagRequest],
    ) -> AsyncGenerator[tagging_pb2.StreamTagResponse, None]:
        async for event in tag_as_it_comes(requests):
            yield event
            raise Failure(grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DRAINING", "stopping")

    async_server.on_generate = refuses
    async_server.on_stream_tag = stream_refuses
    with pytest.raises(InvalidFieldError, match="no"):
        await instrumented.generate("m").text()
    with pytest.raises(UnavailableError, match="stopping"):
        _ = [tag async for tag in instrumented.stream_tag("m", ["a ", "b "])]


async def test_asyncio_streams_can_be_left_and_time_out(
    async_server: ScriptedServer, instrumented: AsyncClient
) -> None:
    async def silent(request: generation_pb2.GenerateRequest) -> GENERATE:
        yield started()
        yield piece("a")
        await asyncio.Event().wait()
        yield finished(0)

    async_server.on_generate = silent
    async with instrumented.generate("m") as stream:
        async for one in stream:
            assert one.text == "a"
            break
    with pytest.raises(DeadlineError, match=r"sent nothing for 0\.1 s"):
        await instrumented.generate("m", timeout_s=0.1).text()
