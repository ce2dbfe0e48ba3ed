"""StreamTag and bad input: a clear error or a clean end, what came before is answered, and neighbours go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2, state_pb2
from seqserve.v1 import tagging_pb2 as pb
from seqserve.v1.tagging_pb2_grpc import TaggingServiceStub
from tests.calls import refusal
from tests.server.api.tagging.tag_streams import END, FLUSH, SENTENCE_END, TagCall, message, streamed, whole

WORDS = ["the", "cat", "sat", "on", "the", "mat"]
SESSION = state_pb2.StateOptions(session_id="one", create_if_absent=True)
IMMEDIATE, LOOKAHEAD, SENTENCE = pb.TAG_FINALITY_IMMEDIATE, pb.TAG_FINALITY_LOOKAHEAD, pb.TAG_FINALITY_SENTENCE


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`uni`, `bi` (at most 5 tokens a sentence), each with `-crf`; `known` (no unknown token); `lstm`: for reading."""
    from tests import servables  # torch takes seconds to import

    def short(manifest: manifest_pb2.Manifest) -> None:
        manifest.limits.tokens_max = 5

    def known(manifest: manifest_pb2.Manifest) -> None:
        manifest.vocabulary.ClearField("unknown_token")
        manifest.vocabulary.ClearField("probes")  # some have an unknown word

    root = tmp_path_factory.mktemp("models")
    for name, bidirectional in (("uni", False), ("bi", True)):
        servables.make_tagger(root / name, bidirectional=bidirectional, edit=short if bidirectional else None)
        servables.make_tagger(root / f"{name}-crf", bidirectional=bidirectional, crf=True)
    servables.make_tagger(root / "known", bidirectional=False, spelling=False, edit=known)
    servables.make_language_model(root / "lstm")
    return root


@asynccontextmanager
async def serving(models: Path, **settings: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(models, **settings) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
async def channel(models: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(models, limits={"text_bytes_max": 60, "lookahead_max": 8, "decision_lag_max": 9}) as channel:
        yield channel


def config(model: str = "uni", **given: Any) -> pb.StreamTagRequest:
    return pb.StreamTagRequest(config=pb.StreamTagConfig(model=common.ModelRef(name=model), **given))


THE = message(["the"])
FEATURES = pb.StreamTagRequest(features=common.FeatureSequence(width=1, values=[1]))
SNAPSHOT = state_pb2.StateOptions(destination=state_pb2.STATE_DESTINATION_SNAPSHOT)


@pytest.mark.parametrize(
    ("messages", "reason", "field", "error_text"),
    [
        ([], "INVALID_FIELD", "config", "the stream has no message; the first one is config"),
        ([THE], "INVALID_FIELD", "config", "the stream begins with words; its first message is config"),
        ([SENTENCE_END], "INVALID_FIELD", "config", "the stream begins with sentence_end"),
        ([config(), THE, config()], "INVALID_FIELD", "config", "config came a second time"),
        ([config(), pb.StreamTagRequest()], "INVALID_FIELD", "message", "a message of the stream is empty"),
        ([config(), message("")], "INVALID_FIELD", "text", "text is empty"),
        ([config(), message([])], "INVALID_FIELD", "words", "words is empty"),
        ([config(), message(["a", ""])], "INVALID_FIELD", "words.words", "words.words[1] is an empty word"),
        ([config(), message([1])], "INVALID_FIELD", "token_ids.ids", "reads the letters of its words"),
        ([config("known"), message([999])], "INVALID_FIELD", "token_ids.ids", "token_ids.ids[0] is 999"),
        ([config(), FEATURES], "INVALID_FIELD", "features", "this model reads tokens, not features"),
        ([config(), message("a" * 61)], "INPUT_TOO_LONG", "text", "text has 61 bytes, the server takes at most 60"),
        ([config(), message(["a" * 61])], "INPUT_TOO_LONG", "words", "words has 61 bytes"),
        (
            [config(), THE, message("cat")],
            "INVALID_FIELD",
            "text",
            "this stream began with words, it cannot go on with",
        ),
        (
            [config("known"), message("cat "), message("zoo the")],
            "OUT_OF_VOCABULARY",
            "text",
            "'zoo' at offset 4 of text",
        ),
        (
            [config("bi"), message(["a"] * 5), THE],
            "INPUT_TOO_LONG",
            "config.finality",
            "the sentence has 6 tokens so far",
        ),
        ([config("lstm")], "TASK_MISMATCH", "", "is for language model, it has no tags; choose a tagger"),
        ([config("none")], "MODEL_NOT_FOUND", "", "unknown model 'none'"),
        ([config("")], "INVALID_FIELD", "config.model.name", "config.model.name is empty"),
        (
            [config(outputs={"top_labels": 21})],
            "INVALID_FIELD",
            "config.outputs.top_labels",
            "must be in [0, 20], got 21",
        ),
        (
            [config(outputs={"top_labels": -1})],
            "INVALID_FIELD",
            "config.outputs.top_labels",
            "must be in [0, 20], got -1",
        ),
        ([config(outputs={"spans": True})], "TASK_MISMATCH", "", "must be BIO or BIOES"),
        (
            [config(outputs={"offset_unit": 9})],
            "INVALID_FIELD",
            "config.outputs.offset_unit",
            "is 9, which this server",
        ),
        ([config(sentence_rule=9)], "INVALID_FIELD", "config.sentence_rule", "is 9, which this server does not know"),
        ([config(finality=9)], "INVALID_FIELD", "config.finality", "is 9, which this server does not know"),
        ([config("bi", finality=9)], "INVALID_FIELD", "config.finality", "is 9, which this server does not know"),
        ([config(finality=LOOKAHEAD)], "INVALID_FIELD", "config.finality", "this model reads in one direction"),
        ([config(finality=SENTENCE)], "INVALID_FIELD", "config.finality", "this model reads in one direction"),
        ([config(lookahead=2)], "INVALID_FIELD", "config.lookahead", "is 2, but this model reads in one direction"),
        (
            [config("uni-crf", finality=IMMEDIATE)],
            "INVALID_FIELD",
            "config.finality",
            "set config.decision_lag_max to 0",
        ),
        ([config("bi", finality=IMMEDIATE)], "INVALID_FIELD", "config.finality", "use TAG_FINALITY_LOOKAHEAD"),
        (
            [config("bi", lookahead=2)],
            "INVALID_FIELD",
            "config.lookahead",
            "needs config.finality TAG_FINALITY_LOOKAHEAD",
        ),
        (
            [config("bi", finality=LOOKAHEAD, lookahead=9)],
            "INVALID_FIELD",
            "config.lookahead",
            "must be in [0, 8], got 9",
        ),
        (
            [config("bi", finality=LOOKAHEAD, lookahead=-1)],
            "INVALID_FIELD",
            "config.lookahead",
            "must be in [0, 8], got -1",
        ),
        ([config(provisional=True)], "INVALID_FIELD", "config.provisional", "its tags are final at once"),
        ([config(decision_lag_max=1)], "INVALID_FIELD", "config.decision_lag_max", "this model has no CRF"),
        (
            [config("bi-crf", decision_lag_max=1)],
            "INVALID_FIELD",
            "config.decision_lag_max",
            "sentences are decided whole",
        ),
        (
            [config("uni-crf", decision_lag_max=10)],
            "INVALID_FIELD",
            "config.decision_lag_max",
            "must be in [0, 9], got 10",
        ),
        ([config(idle_timeout=Duration())], "INVALID_FIELD", "config.idle_timeout", "must be above 0 and at most"),
        ([config("bi", state=SNAPSHOT)], "TASK_MISMATCH", "", "reads its input in both directions"),
        (
            [config(state=state_pb2.StateOptions(session_id="none"))],
            "SESSION_NOT_FOUND",
            "",
            "session 'none' does not exist",
        ),
    ],
)
async def test_what_is_wrong_is_told_and_neighbours_go_on(
    channel: grpc.aio.Channel, messages: list[pb.StreamTagRequest], reason: str, field: str, error_text: str
) -> None:
    neighbour = TagCall(channel, "uni")
    await neighbour.begin()
    await neighbour.send(WORDS[:2])
    reported = await refusal(TaggingServiceStub(channel).StreamTag(iter(messages)))
    assert error_text in reported.message
    assert (reported.reason, reported.field) == (f"ERROR_REASON_{reason}", field)
    await neighbour.send(WORDS[2:])
    tags, _ = await neighbour.finish()
    assert tags == list((await whole(channel, "uni", WORDS))[0].tags)


@pytest.mark.parametrize("model", ["uni", "uni-crf", "bi", "bi-crf"])
async def test_what_came_before_the_mistake_is_answered(channel: grpc.aio.Channel, model: str) -> None:
    call = TagCall(channel, model)
    await call.begin()
    await call.send(WORDS[:4], [""])
    assert [tag.token for tag in await call.tags(4)] == WORDS[:4]
    with pytest.raises(grpc.aio.AioRpcError, match="is an empty word"):
        await call.call.read()


async def test_after_the_end_nothing_is_read(channel: grpc.aio.Channel) -> None:
    call: Any = TaggingServiceStub(channel).StreamTag(iter([config(), THE, END, THE, message("")]))
    *_, last = [event async for event in call]
    assert last.finished.tokens == 1


@pytest.mark.parametrize("way", ["cancel", "disconnect"])
async def test_a_caller_that_vanishes_leaves_its_place_and_its_session_as_it_was(models: Path, way: str) -> None:
    async with running_server(models, batch={"open_streams_max": 1}) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            await streamed(channel, "uni", [WORDS[:1]], state=SESSION)
            removed = grpc.aio.insecure_channel(address)
            call = TagCall(removed, "uni", state=SESSION)
            await call.begin()
            await call.send(WORDS[:1])
            await call.tags(1)
            reported = await refusal(TaggingServiceStub(channel).StreamTag(iter([config()])))
            assert (reported.code, reported.retry_s) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1)
            if way == "cancel":
                call.call.cancel()
            else:
                await removed.close()
            while (after := await first_that_is_let_in(channel)) is None:  # until the server has noticed
                pass
            await removed.close()
        assert [tag.position for tag in after] == [1, 2]


async def first_that_is_let_in(channel: grpc.aio.Channel) -> list[pb.Tag] | None:
    """The tags of a stream in the session, if there is a place for it now."""
    try:
        return (await streamed(channel, "uni", [WORDS[1:3]], state=SESSION))[0]
    except grpc.aio.AioRpcError as error:
        if error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED):
            return None
        raise


@pytest.mark.parametrize("model", ["uni", "bi"])
async def test_a_caller_that_does_not_read_holds_up_nobody_and_loses_nothing(models: Path, model: str) -> None:
    async with serving(models, batch={"steps_ahead_max": 16}) as channel:
        finality = {"finality": LOOKAHEAD, "lookahead": 1} if model == "bi" else {}
        call = TagCall(channel, model, outputs=pb.TagOutputs(top_labels=5), **finality)
        await call.begin()
        words = WORDS * 500
        writing = asyncio.create_task(call.send(*[words[start : start + 4] for start in range(0, len(words), 4)]))
        expected = list((await whole(channel, "uni", WORDS))[0].tags)
        for _ in range(20):
            assert (await streamed(channel, "uni", [WORDS]))[0] == expected
        await writing
        tags, finished = await call.finish()
        assert finished.tokens == len(words)
        assert [tag.position for tag in tags] == list(range(len(words)))


async def test_a_flush_before_any_input_is_no_mistake(channel: grpc.aio.Channel) -> None:
    for model in ("uni", "uni-crf", "bi", "bi-crf"):
        tags, _, _ = await streamed(channel, model, [FLUSH, WORDS[:2], FLUSH, FLUSH])
        final = [tag for tag in tags if not tag.provisional]
        assert [tag.token for tag in final] == WORDS[:2]
