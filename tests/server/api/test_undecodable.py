from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import grpc.aio
import pytest
from google.protobuf.message import DecodeError

from seqserve.server.api.undecodable import UndecodableLog
from seqserve.v1 import common_pb2, generation_pb2
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
