"""Messages that are too large: found before they are sent, or named for what they are."""

from collections.abc import AsyncGenerator, AsyncIterator

import grpc
import pytest

from seqserve.client import AsyncClient, Client, InputTooLongError
from seqserve.client.core.status import error_from_status
from seqserve.client.testing import SERVABLE, ScriptedServer
from seqserve.v1 import tagging_pb2

TEXTS = ["x" * 100_000] * 200


def test_a_request_that_is_too_large_is_not_sent(server: ScriptedServer, client: Client) -> None:
    for call in (
        lambda: client.tag("m", TEXTS),
        lambda: client.score("m", TEXTS),
        lambda: client.classify("m", TEXTS),
        lambda: client.generate("m", "x" * 20_000_000),
        lambda: client.sessions.restore(b"x" * 20_000_000),
    ):
        with pytest.raises(
            InputTooLongError, match=r"at most 17,825,792 bytes, got 20,0\d\d,\d{3}: send fewer"
        ) as caught:
            call()
        assert caught.value.reason == "ERROR_REASON_INPUT_TOO_LONG"
        assert caught.value.metadata["limit"] == "17825792"
    assert server.requests == []


def test_the_limit_can_be_raised_with_that_of_the_server(server: ScriptedServer) -> None:
    with (
        Client(server.target, request_bytes_max=1000) as small,
        pytest.raises(InputTooLongError, match="at most 1,000"),
    ):
        small.tag("m", "x" * 1000)
    with Client(server.target, request_bytes_max=30 << 20) as large, pytest.raises(InputTooLongError) as caught:
        large.tag("m", TEXTS)  # the scripted server takes gRPC's default, 4 MiB
    assert "the server takes at most 4,194,304 in a message" in caught.value.message


def test_an_answer_that_is_too_large_is_not_a_passing_fault(server: ScriptedServer) -> None:
    options = [("grpc.max_receive_message_length", 100_000)]
    with (
        grpc.insecure_channel(server.target, options) as channel,
        Client(server.target, channel=channel) as client,
        pytest.raises(InputTooLongError, match=r"the answer has \d+,\d+ bytes, and a message at most 100,000"),
    ):
        client.tag("m", "a " * 10_000)


async def test_asyncio_sizes_are_checked_too(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    with pytest.raises(InputTooLongError, match="at most 17,825,792 bytes"):
        await async_client.tag("m", TEXTS)
    assert async_server.requests == []


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ("SERVER: Received message larger than max (18000000 vs. 4194304)", "the request has 18,000,000 bytes"),
        ("CLIENT: Sent message larger than max (18000000 vs. 4194304)", "the request has 18,000,000 bytes"),
        ("Received message larger than max (18000000 vs. 4194304)", "the request has 18,000,000 bytes"),
        ("SERVER: Sent message larger than max (18000000 vs. 4194304)", "the answer has 18,000,000 bytes"),
        ("CLIENT: Received message larger than max (18000000 vs. 4194304)", "the answer has 18,000,000 bytes"),
    ],
)
def test_each_side_is_named(details: str, words: str) -> None:
    error = error_from_status(grpc.StatusCode.RESOURCE_EXHAUSTED, details, (), target="here:1")
    assert isinstance(error, InputTooLongError)
    assert words in error.message


def test_large_pieces_of_a_stream_are_cut(server: ScriptedServer, client: Client) -> None:
    async def counts(
        requests: AsyncIterator[tagging_pb2.StreamTagRequest],
    ) -> AsyncGenerator[tagging_pb2.StreamTagResponse, None]:
        yield tagging_pb2.StreamTagResponse(started=tagging_pb2.StreamTagStarted(servable=SERVABLE))
        characters = 0
        async for request in requests:
            characters += len(request.text)
        yield tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished(tokens=characters))

    server.on_stream_tag = counts
    stream = client.stream_tag("m", ["word " * 3_600_000])  # 18 MB
    assert list(stream) == []
    assert stream.finished.tokens == 18_000_000
