"""Addresses, time-outs, retries, and servers that are not there."""

import asyncio
import math
import socket
from collections.abc import AsyncGenerator

import grpc
import pytest

from seqserve.client import CHANNEL_OPTIONS, AsyncClient, Client, DeadlineError, UnavailableError, UnreachableError
from seqserve.client.core.channel import complete_address, is_local, proxy_of
from seqserve.client.testing import Failure, ScriptedServer, piece, score_characters, started, tag_words
from seqserve.v1 import generation_pb2, tagging_pb2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def never(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("given", "complete"),
    [
        ("localhost", "localhost:50051"),
        ("host:1", "host:1"),
        ("[::1]:7", "[::1]:7"),
        ("[::1]", "[::1]:50051"),
        ("unix:/run/s.sock", "unix:/run/s.sock"),
        ("dns:///host:1", "dns:///host:1"),
    ],
)
def test_an_address_without_a_port_gets_the_default(given: str, complete: str) -> None:
    assert complete_address(given) == complete


@pytest.mark.parametrize(("given", "message"), [("", "empty"), ("  ", "empty"), ("http://host:1", "without http://")])
def test_what_is_no_address_is_refused(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Client(given)
    with pytest.raises(ValueError, match=message):
        AsyncClient(given)


def test_nobody_there_is_said_in_plain_words() -> None:
    port = free_port()
    with Client(f"localhost:{port}") as client, pytest.raises(UnreachableError) as caught:
        client.health()
    assert str(caught.value) == f"no server answers at localhost:{port}: is seqserve-server running there?"
    assert isinstance(caught.value, UnavailableError)


async def test_nobody_there_is_said_the_same_to_asyncio() -> None:
    async with AsyncClient(f"localhost:{free_port()}") as client:
        with pytest.raises(UnreachableError, match="no server answers at localhost"):
            await client.health()
        with pytest.raises(UnreachableError, match="no server answers at localhost"):
            await client.generate("m", "text").text()


@pytest.mark.parametrize("failures", [1, 3])
def test_a_call_that_changes_nothing_is_retried(failures: int, server: ScriptedServer, client: Client) -> None:
    async def sometimes(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        if len(server.requests) <= failures:
            raise Failure(grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DRAINING", "stopping")
        return await tag_words(request)

    server.on_tag = sometimes
    assert client.tag("m", "text").tags
    assert len(server.requests) == failures + 1


def test_score_is_retried_too(server: ScriptedServer, client: Client) -> None:
    async def at_the_second_time(request: generation_pb2.ScoreRequest) -> generation_pb2.ScoreResponse:
        if len(server.requests) == 1:
            raise Failure(grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DRAINING", "stopping")
        return await score_characters(request)

    server.on_score = at_the_second_time
    assert client.score("m", "text").scored_tokens == 4
    assert server.requests[0] == server.requests[1]


async def test_retries_have_an_end(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    async def unavailable(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        raise Failure(grpc.StatusCode.UNAVAILABLE, "", "Socket closed")

    async_server.on_tag = unavailable
    with pytest.raises(UnavailableError, match="broke: Socket closed"):
        await async_client.tag("m", "text")
    assert len(async_server.requests) == 4


def test_other_failures_are_not_retried(server: ScriptedServer, client: Client) -> None:
    async def full(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL")

    server.on_tag = full
    with pytest.raises(Exception, match="scripted"):
        client.tag("m", "text")
    assert len(server.requests) == 1


def test_a_call_ends_after_the_clients_time_out(server: ScriptedServer) -> None:
    server.on_tag = never
    with Client(server.target, timeout_s=0.1) as client, pytest.raises(DeadlineError, match=r"within 0\.1 s"):
        client.tag("m", "text")
    assert server.cancelled.wait(20.0)


def test_a_calls_own_time_out_goes_first(server: ScriptedServer, client: Client) -> None:
    server.on_tag = never
    with pytest.raises(DeadlineError, match=r"within 0\.1 s"):
        client.tag("m", "text", timeout_s=0.1)


async def test_asyncio_calls_have_time_outs_too(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    async_server.on_tag = never
    with pytest.raises(DeadlineError, match=r"within 0\.1 s"):
        await async_client.tag("m", "text", timeout_s=0.1)
    task = asyncio.create_task(async_client.tag("m", "text"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_infinity_is_no_limit(server: ScriptedServer) -> None:
    with Client(server.target, timeout_s=math.inf) as client:
        assert client.generate("m", "text", deadline_s=math.inf).text() == "text"
        assert client.health()


def test_a_channel_of_the_callers_own_stays_open(server: ScriptedServer) -> None:
    with grpc.insecure_channel(server.target, CHANNEL_OPTIONS) as channel:
        for _ in range(2):
            with Client("elsewhere", channel=channel) as client:
                assert client.generate("m", "text").text() == "text"


async def test_so_does_one_for_asyncio(async_server: ScriptedServer) -> None:
    async with grpc.aio.insecure_channel(async_server.target, CHANNEL_OPTIONS) as channel:
        for _ in range(2):
            async with AsyncClient("elsewhere", channel=channel) as client:
                assert await client.generate("m", "text").text() == "text"


def test_an_asyncio_client_may_be_made_outside_an_event_loop(server: ScriptedServer) -> None:
    client = AsyncClient(server.target)

    async def use() -> str:
        async with client:
            return await client.generate("m", "text").text()

    assert asyncio.run(use()) == "text"


def test_a_message_of_many_megabytes_comes_through(server: ScriptedServer, client: Client) -> None:
    text = "word " * 2_000_000
    server.on_tag = large_answer
    assert client.tag("m", "text").tags[0].token == text


async def large_answer(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
    tag = tagging_pb2.Tag(token="word " * 2_000_000)
    return tagging_pb2.TagResponse(sequences=[tagging_pb2.TaggedSequence(tags=[tag])])


async def test_a_server_that_goes_away_in_the_middle_is_an_error(
    async_client: AsyncClient, async_server: ScriptedServer
) -> None:
    async def one_piece(
        request: generation_pb2.GenerateRequest,
    ) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
        yield started()
        yield piece("so far")
        await asyncio.Event().wait()

    async_server.on_generate = one_piece
    stream = async_client.generate("m")
    pieces = aiter(stream)
    assert (await anext(pieces)).text == "so far"
    await async_server.__aexit__(None, None, None)
    with pytest.raises(UnavailableError, match="broke"):
        await anext(pieces)
    assert await stream.text() == "so far"


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_a_proxy_is_not_used_for_this_machine(
    variable: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    port = server.target.rpartition(":")[2]
    for target in (server.target, f"localhost:{port}"):
        with Client(target, resume_s=0.0) as client:
            assert client.tag("m", "word").tags[0].token == "word"


async def test_asyncio_a_proxy_is_not_used_for_this_machine(
    async_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with AsyncClient(async_server.target, resume_s=0.0) as client:
        assert (await client.tag("m", "word")).tags[0].token == "word"


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:9")
    with Client("192.0.2.1:50051", resume_s=0.0) as client, pytest.raises(UnreachableError) as caught:
        client.health()
    assert "through the proxy http://127.0.0.1:9 (http_proxy)" in caught.value.message
    assert "no_proxy" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("localhost:50051", True),
        ("127.0.0.1:50051", True),
        ("127.8.9.1:1", True),
        ("[::1]:50051", True),
        ("ipv6:[::1]:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("dns:///localhost:50051", True),
        ("dns://8.8.8.8/localhost:50051", True),
        ("unix:/run/seqserve.sock", True),
        ("example.org:50051", False),
        ("localhost.example.org:50051", False),
        ("192.168.0.1:50051", False),
        ("[2001:db8::1]:50051", False),
    ],
)
def test_addresses_of_this_machine_are_recognized(target: str, local: bool) -> None:
    assert is_local(target) is local


def test_excluded_hosts_have_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    monkeypatch.setenv("no_proxy", "internal, example.org")
    assert proxy_of("models.example.org:50051") is None
    assert proxy_of("localhost:50051") is None
    assert proxy_of("example.com:50051") == ("http_proxy", "http://proxy:3128")


@pytest.mark.parametrize("limit_s", [0.0, -1.0, math.nan])
def test_a_time_limit_is_above_zero(limit_s: float, server: ScriptedServer, client: Client) -> None:
    for call in (
        lambda: client.tag("m", "a", timeout_s=limit_s),
        lambda: client.generate("m", timeout_s=limit_s),
        lambda: client.generate("m", deadline_s=limit_s),
        lambda: client.stream_tag("m", [], timeout_s=limit_s),
    ):
        with pytest.raises(ValueError, match=f"a time limit must be above 0 s, got {limit_s:g}"):
            call()
    assert server.requests == []
