from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import grpc.aio
import pytest
from google.protobuf.message import DecodeError

from seqserve.server.api.undecodable import UndecodableLog, count_fields
from seqserve.v1 import common_pb2, generation_pb2, tagging_pb2
from tests.calls import refusal

SERVICE = "/seqserve.v1."
CONFIG = generation_pb2.StreamScoreRequest(config={"model": common_pb2.ModelRef(name="lstm")}).SerializeToString()
TEXT = generation_pb2.StreamScoreRequest(text="the cat").SerializeToString()
TRUNCATED, NOT_UTF8 = b"\x0a", b"\x0a\x02\xff\xfe"


async def read(channel: grpc.aio.Channel, method: str, messages: Sequence[bytes]) -> None:
    stub: Any = channel.stream_stream(SERVICE + method)
    async for _ in stub(iter(messages)):
        pass


@pytest.mark.parametrize("message", [TRUNCATED, NOT_UTF8])
@pytest.mark.parametrize("method", ["SessionService/GetSession", "GenerationService/Generate", "ModelService/GetModel"])
async def test_an_undecodable_request_is_refused_with_a_reason(
    method: str, message: bytes, channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    refused = await refusal(read(channel, method, [message]))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD")
    assert "not a valid message" in refused.message
    (line,) = caplog.messages
    assert line.startswith(f"undecodable request of {SERVICE}{method}: Error parsing message")


@pytest.mark.parametrize("messages", [[TRUNCATED], [CONFIG, TRUNCATED], [CONFIG, TEXT, TRUNCATED]])
async def test_an_undecodable_message_of_a_stream_is_refused_with_a_reason(
    messages: list[bytes], channel: grpc.aio.Channel
) -> None:
    refused = await refusal(read(channel, "GenerationService/StreamScore", messages))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD")


def test_many_undecodable_requests_are_one_line_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 100.0
    undecodable_log = UndecodableLog(now=lambda: now_s)
    with caplog.at_level(logging.WARNING):
        for _ in range(500):
            undecodable_log.write("/a", DecodeError("bad"))
        now_s += 10.0
        undecodable_log.write("/b", DecodeError("bad"))
    assert caplog.messages == [
        "undecodable request of /a: bad",
        "undecodable request of /b: bad (499 more since the last line)",
    ]


@pytest.mark.parametrize("count", [4096 + 257, 1_000_000])
async def test_a_request_with_too_many_fields_is_refused_before_it_is_decoded(
    count: int, channel: grpc.aio.Channel
) -> None:
    refused = await refusal(read(channel, "TaggingService/Tag", [b"\x12\x00" * count]))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD")
    assert refused.message == "the request must have at most 4352 fields; send several requests"


async def test_as_many_inputs_as_the_limit_says_are_still_counted_by_name(channel: grpc.aio.Channel) -> None:
    request = tagging_pb2.TagRequest(inputs=[tagging_pb2.TagInput(text="the cat " * 50)] * 257)
    request.model.name = "tagger"
    refused = await refusal(read(channel, "TaggingService/Tag", [request.SerializeToString()]))
    assert "inputs" in refused.message
    assert "257" in refused.message


@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_fields_are_counted_up_to_a_bound(count: int) -> None:
    request = tagging_pb2.TagRequest(inputs=[tagging_pb2.TagInput(text="x" * 200)] * count)
    assert count_fields(request.SerializeToString(), 1000) == count
    assert count_fields(request.SerializeToString(), 100) == min(count, 101)


@pytest.mark.parametrize(
    "data", [b"", b"\x12", b"\x12\xff", b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x08\x01"]
)
def test_a_damaged_message_has_few_fields(data: bytes) -> None:
    assert count_fields(data, 100) <= 1
