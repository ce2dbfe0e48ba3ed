"""StreamScore and bad input: a clear error or a clean end, what came before is answered, and neighbours go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2, state_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import refusal
from tests.server.api.generation.scoring import END, FLUSH, Scored, Scoring, assert_same, message, streamed, whole

TEXT = "the cat sat on the mat"
SESSION = state_pb2.StateOptions(session_id="one", create_if_absent=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`lstm`, `short` (at most 5 ids a piece) and `tagger`: leave them so."""
    from tests import servables  # torch takes seconds to import

    def short(manifest: manifest_pb2.Manifest) -> None:
        manifest.limits.tokens_max = 5

    root = tmp_path_factory.mktemp("models")
    servables.make_language_model(root / "lstm")
    servables.make_language_model(root / "short", edit=short)
    servables.make_tagger(root / "tagger", bidirectional=False)
    return root


@asynccontextmanager
async def serving(models: Path, **settings: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(models, **settings) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
async def channel(models: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(models, limits={"text_bytes_max": 30}) as channel:
        yield channel


def config(model: str = "lstm", **given: Any) -> pb.StreamScoreRequest:
    return pb.StreamScoreRequest(config=pb.StreamScoreConfig(model=common.ModelRef(name=model), **given))


THE = message("the")


@pytest.mark.parametrize(
    ("messages", "reason", "field", "error_text"),
    [
        ([], "INVALID_FIELD", "config", "the stream has no message; the first one is config"),
        ([THE], "INVALID_FIELD", "config", "the stream begins with text; its first message is config"),
        ([FLUSH], "INVALID_FIELD", "config", "the stream begins with flush"),
        ([config(), THE, config()], "INVALID_FIELD", "config", "config came a second time"),
        ([config(), pb.StreamScoreRequest()], "INVALID_FIELD", "message", "a message of the stream is empty"),
        ([config(), message("")], "INVALID_FIELD", "text", "text is empty"),
        ([config(), message([])], "INVALID_FIELD", "token_ids", "token_ids is empty"),
        ([config(), message([1, 99])], "INVALID_FIELD", "token_ids.ids", "token_ids.ids[1] is 99"),
        ([config(), message([-1])], "INVALID_FIELD", "token_ids.ids", "token_ids.ids[0] is -1"),
        ([config(), THE, message([1])], "INVALID_FIELD", "token_ids", "this stream began with text"),
        ([config(), message("a" * 31)], "INPUT_TOO_LONG", "text", "text has 31 bytes, the server takes at most 30"),
        ([config("short"), message([1] * 6)], "INPUT_TOO_LONG", "token_ids", "has 6 tokens, the model takes at most 5"),
        ([config(), THE, message(" cat"), message(" Zoe")], "OUT_OF_VOCABULARY", "text", "'Z' (U+005A) at offset 8"),
        ([config("tagger")], "TASK_MISMATCH", "", "cannot generate or score text; choose a language model"),
        ([config("none")], "MODEL_NOT_FOUND", "", "unknown model 'none'"),
        ([config("")], "INVALID_FIELD", "config.model.name", "config.model.name is empty"),
        ([config(top_logprobs=21)], "INVALID_FIELD", "config.top_logprobs", "must be in [0, 20], got 21"),
        ([config(top_logprobs=-1)], "INVALID_FIELD", "config.top_logprobs", "must be in [0, 20], got -1"),
        (
            [config(state=state_pb2.StateOptions(session_id="none"))],
            "SESSION_NOT_FOUND",
            "",
            "session 'none' does not exist",
        ),
        ([config(state=state_pb2.StateOptions(snapshot=b"no"))], "SNAPSHOT_INVALID", "", "snapshot"),
    ],
)
async def test_what_is_wrong_is_told_and_neighbours_go_on(
    channel: grpc.aio.Channel, messages: list[pb.StreamScoreRequest], reason: str, field: str, error_text: str
) -> None:
    neighbour = Scoring(channel)
    await neighbour.begin()
    await neighbour.send(TEXT[:9])
    reported = await refusal(GenerationServiceStub(channel).StreamScore(iter(messages)))
    assert (reported.reason, reported.field) == (f"ERROR_REASON_{reason}", field)
    assert error_text in reported.message
    await neighbour.send(TEXT[9:])
    assert_same(await neighbour.finish(), await whole(channel, "lstm", TEXT))


async def test_what_came_before_the_mistake_is_answered(channel: grpc.aio.Channel) -> None:
    stream = Scoring(channel)
    await stream.begin()
    await stream.send("the ", "cat", "Z")
    assert await stream.scores(6) == list((await whole(channel, "lstm", "the cat")).tokens)
    with pytest.raises(grpc.aio.AioRpcError, match="at offset 7 of text"):
        await stream.call.read()


async def test_after_the_end_nothing_is_read(channel: grpc.aio.Channel) -> None:
    call: Any = GenerationServiceStub(channel).StreamScore(iter([config(), THE, END, THE, message("")]))
    *_, last = [event async for event in call]
    assert last.finished.state.position == 3


async def test_a_session_that_another_stream_advances_is_busy(channel: grpc.aio.Channel) -> None:
    holder = Scoring(channel, state=SESSION)
    await holder.begin()
    reported = await refusal(GenerationServiceStub(channel).StreamScore(iter([config(state=SESSION)])))
    assert reported.reason == "ERROR_REASON_SESSION_BUSY"
    await holder.send("the")
    assert (await holder.finish()).finished.state.position == 3


@pytest.mark.parametrize("way", ["cancel", "disconnect"])
async def test_a_caller_that_vanishes_leaves_its_place_and_its_session_as_it_was(models: Path, way: str) -> None:
    async with running_server(models, batch={"open_streams_max": 1}) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            await streamed(channel, "lstm", ["the"], state=SESSION)
            removed = grpc.aio.insecure_channel(address)
            stream = Scoring(removed, state=SESSION)
            await stream.begin()
            await stream.send(" cat")
            await stream.scores(4)
            reported = await refusal(GenerationServiceStub(channel).StreamScore(iter([config()])))
            assert (reported.code, reported.retry_s) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1)
            if way == "cancel":
                stream.call.cancel()
            else:
                await removed.close()
            while (after := await first_that_is_let_in(channel)) is None:  # until the server has noticed
                pass
            await removed.close()
        assert after.positions == [3, 4, 5, 6]


async def first_that_is_let_in(channel: grpc.aio.Channel) -> Scored | None:
    """A stream in the session, if there is a place for it now."""
    try:
        return await streamed(channel, "lstm", [" sat"], state=SESSION)
    except grpc.aio.AioRpcError as error:
        if error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED):
            return None
        raise


async def test_a_caller_that_does_not_read_holds_up_nobody_and_loses_nothing(models: Path) -> None:
    async with serving(models, batch={"steps_ahead_max": 16}) as channel:
        text = "the cat sat. " * 400
        stream = Scoring(channel, top_logprobs=20)
        await stream.begin()
        writing = asyncio.create_task(stream.send(*[text[start : start + 4] for start in range(0, len(text), 4)]))
        for _ in range(20):
            assert_same(await streamed(channel, "lstm", TEXT), await whole(channel, "lstm", TEXT))
        reported = await asyncio.gather(writing, stream.scores(len(text) - 1))
        assert reported[1] == list((await whole(channel, "lstm", text, top=20)).tokens)
        await stream.finish()
