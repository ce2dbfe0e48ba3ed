"""StreamClassify and bad input: a clear error or a clean end, what came before is answered, and neighbours go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from seqserve.server.testing import running_server
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2, state_pb2
from seqserve.v1.classification_pb2_grpc import ClassificationServiceStub
from tests.calls import Refusal, refusal
from tests.server.api.classification.classifying import END, FLUSH, Classifying, message, streamed, whole

Messages = list[pb.StreamClassifyRequest]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classifiers `max` (at most 5 tokens a piece), `speller`, `both` (directions); `tagger`, `lstm`: leave them so."""
    from tests import servables  # torch takes seconds to import

    def short(manifest: manifest_pb2.Manifest) -> None:
        manifest.limits.tokens_max = 5

    root = tmp_path_factory.mktemp("models")
    servables.edit_manifest(servables.make_classifier(root / "max", bidirectional=False), short)
    servables.make_classifier(root / "speller", bidirectional=False, spelling=True)
    servables.make_classifier(root / "both")
    servables.make_tagger(root / "tagger", bidirectional=False)
    servables.make_language_model(root / "lstm")
    return root


@asynccontextmanager
async def serving(models: Path, **settings: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with (
        running_server(models, **settings) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield channel


@pytest.fixture
async def channel(models: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(models, limits={"text_bytes_max": 30}) as channel:
        yield channel


def config(model: str = "max", **given: Any) -> pb.StreamClassifyRequest:
    return pb.StreamClassifyRequest(config=pb.StreamClassifyConfig(model=common.ModelRef(name=model), **given))


async def refused(channel: grpc.aio.Channel, messages: Messages) -> Refusal:
    return await refusal(ClassificationServiceStub(channel).StreamClassify(iter(messages)))


SNAPSHOT = state_pb2.STATE_DESTINATION_SNAPSHOT
THE = message(["the"])
FEATURES = pb.StreamClassifyRequest(features=common.FeatureSequence(width=1, values=[1]))


@pytest.mark.parametrize(
    ("messages", "reason", "field", "error_text"),
    [
        ([], "INVALID_FIELD", "config", "the stream has no message; the first one is config"),
        ([THE], "INVALID_FIELD", "config", "the stream begins with words; its first message is config"),
        ([END], "INVALID_FIELD", "config", "the stream begins with end; its first message is config"),
        ([pb.StreamClassifyRequest()], "INVALID_FIELD", "config", "begins with an empty message"),
        ([config(), THE, config()], "INVALID_FIELD", "config", "config came a second time"),
        ([config(), pb.StreamClassifyRequest()], "INVALID_FIELD", "message", "a message of the stream is empty"),
        ([config(), message("")], "INVALID_FIELD", "text", "text is empty"),
        ([config(), message([])], "INVALID_FIELD", "words", "words is empty"),
        (
            [config(), pb.StreamClassifyRequest(token_ids=common.TokenIds())],
            "INVALID_FIELD",
            "token_ids",
            "token_ids is empty",
        ),
        ([config(), message(["a", ""])], "INVALID_FIELD", "words.words", "words.words[1] is an empty word"),
        ([config(), message([1, 99])], "INVALID_FIELD", "token_ids.ids", "token_ids.ids[1] is 99"),
        ([config(), FEATURES], "INVALID_FIELD", "features", "this model reads tokens, not features"),
        ([config("speller"), message([1])], "INVALID_FIELD", "token_ids.ids", "reads the letters of its words"),
        ([config(), message("a" * 31)], "INPUT_TOO_LONG", "text", "text has 31 bytes, the server takes at most 30"),
        ([config(), message(["a" * 31])], "INPUT_TOO_LONG", "words", "words has 31 bytes"),
        ([config(), message([1] * 6)], "INPUT_TOO_LONG", "token_ids", "has 6 tokens, the model takes at most 5"),
        ([config(), message(["a"] * 6)], "INPUT_TOO_LONG", "words", "has 6 words, the model takes at most 5"),
        (
            [config(), THE, message("cat")],
            "INVALID_FIELD",
            "text",
            "this stream began with words, it cannot go on with",
        ),
        ([config("both")], "TASK_MISMATCH", "", "reads its input in both directions"),
        ([config("tagger")], "TASK_MISMATCH", "", "is for tagging, it does not classify texts; choose a classifier"),
        ([config("lstm")], "TASK_MISMATCH", "", "is for language model, it does not classify texts"),
        ([config("none")], "MODEL_NOT_FOUND", "", "unknown model 'none'"),
        ([config("")], "INVALID_FIELD", "config.model.name", "config.model.name is empty"),
        (
            [pb.StreamClassifyRequest(config=pb.StreamClassifyConfig(model=common.ModelRef(name="max", version=0)))],
            "INVALID_FIELD",
            "config.model.version",
            "config.model.version is 0",
        ),
        ([config(top_labels=0)], "INVALID_FIELD", "config.top_labels", "must be in [1, 100], got 0"),
        ([config(top_labels=101)], "INVALID_FIELD", "config.top_labels", "must be in [1, 100], got 101"),
        (
            [config(idle_timeout=Duration())],
            "INVALID_FIELD",
            "config.idle_timeout",
            "must be above 0 and at most 86400 s, got 0 s",
        ),
        ([config(idle_timeout=Duration(seconds=86401))], "INVALID_FIELD", "config.idle_timeout", "got 86401 s"),
        (
            [config(state=state_pb2.StateOptions(create_if_absent=True))],
            "INVALID_FIELD",
            "config.state.create_if_absent",
            "name it in config.state.session_id",
        ),
        (
            [config("speller", state=state_pb2.StateOptions(destination=SNAPSHOT, keep_tokens=True))],
            "INVALID_FIELD",
            "config.state.keep_tokens",
            "config.state.keep_tokens is set, but model 'speller' reads more than token ids",
        ),
        (
            [config(state=state_pb2.StateOptions(session_id="none"))],
            "SESSION_NOT_FOUND",
            "",
            "session 'none' does not exist",
        ),
        ([config("both", state=state_pb2.StateOptions(destination=SNAPSHOT))], "TASK_MISMATCH", "", "both directions"),
    ],
)
async def test_what_is_wrong_is_told_and_neighbours_go_on(
    channel: grpc.aio.Channel, messages: Messages, reason: str, field: str, error_text: str
) -> None:
    neighbour = Classifying(channel, "max")
    await neighbour.begin()
    await neighbour.send(["the"])
    reported = await refused(channel, messages)
    assert (reported.reason, reported.field) == (f"ERROR_REASON_{reason}", field)
    assert error_text in reported.message
    await neighbour.send(["cat", "sat"])
    _, finished = await neighbour.finish()
    assert finished.classification == await whole(channel, "max", ["the", "cat", "sat"])


async def test_what_came_before_the_mistake_is_answered_and_a_session_stays_as_it_was(
    channel: grpc.aio.Channel,
) -> None:
    into = state_pb2.StateOptions(session_id="one", create_if_absent=True)
    await streamed(channel, "max", [["the"]], state=into)
    stream = Classifying(channel, "max", state=into)
    await stream.begin()
    await stream.send(["cat"], ["sat"], [])
    assert [(await stream.update()).position for _ in range(2)] == [2, 3]
    with pytest.raises(grpc.aio.AioRpcError, match="words is empty"):
        await stream.call.read()
    _, finished = await streamed(channel, "max", [["on"]], state=state_pb2.StateOptions(session_id="one"))
    assert finished.state.position == 2


async def test_after_the_end_nothing_is_read(channel: grpc.aio.Channel) -> None:
    call: Any = ClassificationServiceStub(channel).StreamClassify(iter([config(), THE, END, THE, FLUSH]))
    *_, last = [event async for event in call]
    assert last.finished.state.position == 1


async def test_a_session_that_another_stream_advances_is_busy(channel: grpc.aio.Channel) -> None:
    into = state_pb2.StateOptions(session_id="one", create_if_absent=True)
    holder = Classifying(channel, "max", state=into)
    await holder.begin()
    reported = await refused(channel, [config(state=into)])
    assert reported.reason == "ERROR_REASON_SESSION_BUSY"
    await holder.send(["the"])
    _, finished = await holder.finish()
    assert finished.state.position == 1


async def test_a_caller_that_does_not_read_holds_up_nobody_and_loses_nothing(channel: grpc.aio.Channel) -> None:
    stream = Classifying(channel, "max")
    await stream.begin()
    writing = asyncio.create_task(stream.send(*[["the"]] * 500))
    for _ in range(20):
        _, finished = await streamed(channel, "max", [["cat"], ["sat"]])
        assert finished.state.position == 2
    assert [(await stream.update()).position for _ in range(500)] == list(range(1, 501))
    await writing
    _, finished = await stream.finish()
    assert finished.state.position == 500


async def test_more_streams_than_may_be_open_are_told_to_come_back(models: Path) -> None:
    async with serving(models, batch={"open_streams_max": 2}) as channel:
        streams = [Classifying(channel, "max") for _ in range(2)]
        for stream in streams:
            await stream.begin()
        reported = await refused(channel, [config()])
        assert reported.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reported.retry_s == 1
        await streams[0].finish()
        await streamed(channel, "max", [["the"]])


async def test_a_caller_that_does_not_say_what_it_wants_is_told_so(models: Path) -> None:
    async with serving(models, limits={"stream_idle_s": 0.05}) as channel:
        call: Any = ClassificationServiceStub(channel).StreamClassify()
        reported = await refusal(call.read())
        assert (reported.reason, reported.field) == ("ERROR_REASON_INVALID_FIELD", "config")
        assert "no first message came within 0.05 s" in reported.message


async def test_a_stream_that_rests_is_told_when_the_server_stops(models: Path) -> None:
    async with AsyncExitStack() as outlives:
        async with running_server(models) as address:
            channel = await outlives.enter_async_context(grpc.aio.insecure_channel(address))
            stream = Classifying(channel, "max")
            await stream.begin()
            await stream.send(["the"])
            await stream.update()
        reported = await refusal(stream.call.read())
    assert (reported.code, reported.reason) == (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DRAINING")
