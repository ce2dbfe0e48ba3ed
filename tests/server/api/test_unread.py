"""A caller of a stream that stops reading: it gets an error, its place is free, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import classification_pb2, common_pb2, generation_pb2, manifest_pb2, state_pb2, tagging_pb2
from seqserve.v1.classification_pb2_grpc import ClassificationServiceStub
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from seqserve.v1.tagging_pb2_grpc import TaggingServiceStub
from tests.calls import refusal
from tests.server.api.generation.scoring import Scoring

UNREAD_S = 0.3
WAIT_S = 60.0
NARROW = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]  # room for little on the way to a caller
TEXT = "the cat sat on a mat. " * 1000


def state(*, waits: bool = False) -> state_pb2.StateOptions:
    policy = state_pb2.BUSY_POLICY_WAIT if waits else state_pb2.BUSY_POLICY_UNSPECIFIED
    return state_pb2.StateOptions(session_id="s", create_if_absent=True, busy_policy=policy)


def tag_stream(channel: grpc.aio.Channel, options: state_pb2.StateOptions) -> tuple[Any, list[Any]]:
    config = tagging_pb2.StreamTagConfig(model=common_pb2.ModelRef(name="tagger"), state=options)
    stub: Any = TaggingServiceStub(channel)
    return stub.StreamTag(), [tagging_pb2.StreamTagRequest(config=config), tagging_pb2.StreamTagRequest(text=TEXT)]


def score_stream(channel: grpc.aio.Channel, options: state_pb2.StateOptions) -> tuple[Any, list[Any]]:
    config = generation_pb2.StreamScoreConfig(model=common_pb2.ModelRef(name="lm"), state=options, top_logprobs=20)
    stub: Any = GenerationServiceStub(channel)
    return stub.StreamScore(), [
        generation_pb2.StreamScoreRequest(config=config),
        generation_pb2.StreamScoreRequest(text=TEXT),
    ]


def classify_stream(channel: grpc.aio.Channel, options: state_pb2.StateOptions) -> tuple[Any, list[Any]]:
    config = classification_pb2.StreamClassifyConfig(model=common_pb2.ModelRef(name="classifier"), state=options)
    stub: Any = ClassificationServiceStub(channel)
    pieces = [classification_pb2.StreamClassifyRequest(words=common_pb2.Words(words=["cat"]))] * 1000
    return stub.StreamClassify(), [classification_pb2.StreamClassifyRequest(config=config), *pieces]


def generation(channel: grpc.aio.Channel, options: state_pb2.StateOptions) -> tuple[Any, list[Any]]:
    request = generation_pb2.GenerateRequest(
        model=common_pb2.ModelRef(name="lm"),
        text="the",
        state=options,
        stopping=generation_pb2.StoppingParams(max_tokens=10_000_000),
        outputs=generation_pb2.GenerateOutputs(logprobs=20),
    )
    stub: Any = GenerationServiceStub(channel)
    return stub.Generate(request), []


KINDS = [tag_stream, score_stream, classify_stream, generation]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.servables import make_classifier, make_language_model, make_tagger  # torch takes seconds to import

    def no_limit(manifest: manifest_pb2.Manifest) -> None:
        manifest.limits.generate_tokens_max = 10_000_000

    root = tmp_path_factory.mktemp("unread")
    make_language_model(root / "lm", layers=1, hidden_size=16, edit=no_limit)
    make_classifier(root / "classifier", bidirectional=False)
    make_tagger(root / "tagger", bidirectional=False)
    return root


@pytest.fixture
async def address(models: Path) -> AsyncIterator[str]:
    settings = {"limits": {"stream_unread_s": UNREAD_S}, "batch": {"open_streams_max": 2}}
    async with running_server(models, **settings) as address:
        yield address


async def begun(call: Any, messages: list[Any]) -> Any:
    """What the first answer says, once all messages are sent."""
    for message in messages:
        await call.write(message)
    return (await call.read()).started


async def read_all(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize("begin", KINDS)
async def test_one_who_does_not_read_is_ended_and_leaves_its_place(
    address: str, begin: Callable[..., tuple[Any, list[Any]]]
) -> None:
    async with (
        grpc.aio.insecure_channel(address, options=NARROW) as narrow,
        grpc.aio.insecure_channel(address) as channel,
        asyncio.timeout(WAIT_S),
    ):
        neighbour = Scoring(channel, "lm")
        await neighbour.begin()
        await neighbour.send("t")
        stalled, messages = begin(narrow, state())
        await begun(stalled, messages)
        # Of two feeds that there may be at a time, and of one session, one is free again soon.
        next_one, messages = begin(channel, state(waits=True))
        waiting = asyncio.create_task(begun(next_one, messages[:1]))
        while not waiting.done():
            await neighbour.send("h")
            await neighbour.scores(1)
        started = await waiting
        assert started.position == getattr(started, "prompt_tokens", 0), "what nobody read was kept"
        reported = await refusal(read_all(stalled))  # at last it reads
        assert (reported.code, reported.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "ERROR_REASON_STREAM_IDLE")
        assert "not read" in reported.message


@pytest.mark.parametrize("begin", KINDS)
async def test_one_who_leaves_without_reading_leaves_its_place(
    models: Path, begin: Callable[..., tuple[Any, list[Any]]]
) -> None:
    """A call that is cancelled while a response is being written releases its session and its place in the engine."""
    async with running_server(models) as address, asyncio.timeout(WAIT_S):
        async with grpc.aio.insecure_channel(address, options=NARROW) as narrow:
            stalled, messages = begin(narrow, state())
            await begun(stalled, messages)
            stalled.cancel()
        async with grpc.aio.insecure_channel(address) as channel:
            next_one, messages = begin(channel, state(waits=True))
            started = await begun(next_one, messages[:1])
            assert started.position == getattr(started, "prompt_tokens", 0), "what nobody read was kept"
            next_one.cancel()
