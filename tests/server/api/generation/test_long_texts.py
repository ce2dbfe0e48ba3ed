"""A text of more than a hundred kilobytes takes its time, and nobody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.server.api.generation.generating import asks, generated

TEXT = "the naïve cat sat on a mat, and 国 dogs sat there. " * 4000
TURN_S = 0.06  # of the processor; to cut the text and to tell of its tokens takes several times as long


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    from tests.servables import make_language_model  # torch takes seconds to import: only those who need it wait

    make_language_model(tmp_path / "lm", level="bpe", layers=1, hidden_size=8, vocabulary_max=290)
    async with running_server(tmp_path) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


async def longest_turn_s(call: asyncio.Task[Any]) -> float:
    """Seconds of the processor that the event loop spent in one go, at most, until a call was done."""
    longest_s = 0.0
    while not call.done():
        before_s = time.thread_time()
        await asyncio.sleep(0.001)
        longest_s = max(longest_s, time.thread_time() - before_s)
    return longest_s


async def test_scoring_it_does_not_hold_up_the_event_loop(channel: grpc.aio.Channel) -> None:
    request = pb.ScoreRequest(model=common.ModelRef(name="lm"), inputs=[pb.ScoreInput(text=TEXT)], logprobs=0)

    async def score() -> pb.ScoreResponse:
        answer: pb.ScoreResponse = await GenerationServiceStub(channel).Score(request)
        return answer

    call = asyncio.create_task(score())
    assert await longest_turn_s(call) < TURN_S
    assert len((await call).scores[0].tokens) > 30_000


async def test_going_on_from_it_does_not_hold_up_the_event_loop(channel: grpc.aio.Channel) -> None:
    call = asyncio.create_task(generated(channel, asks(TEXT, "lm", stopping={"max_tokens": 1})))
    assert await longest_turn_s(call) < TURN_S
    assert (await call).started.prompt_tokens > 30_000
