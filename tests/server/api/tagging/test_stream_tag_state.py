"""StreamTag with state: a stream continues where an earlier one ended, within its sentence or after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import session_pb2, state_pb2
from seqserve.v1 import tagging_pb2 as pb
from seqserve.v1.session_pb2_grpc import SessionServiceStub
from tests.server.api.tagging.tag_streams import SENTENCE_END, Piece, TagCall, streamed, whole

WORDS = ["The", "cat", "sat", "on", "the", "mat", ".", "A", "naïve", "dog"]
SPANS = ("O", "B-X", "I-X", "B-Y", "I-Y")
INTO = state_pb2.StateOptions(session_id="one", create_if_absent=True)


@pytest.fixture(scope="module")
def taggers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One-directional taggers, `alone` and `crf` (BIO labels). Do not change it."""
    from tests.servables import make_tagger  # torch takes seconds to import

    root = tmp_path_factory.mktemp("taggers")
    make_tagger(root / "alone", bidirectional=False)
    make_tagger(root / "crf", bidirectional=False, crf=True, labels=SPANS)
    return root


@pytest.fixture
async def channel(taggers: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(taggers) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.mark.parametrize("cut", range(len(WORDS) + 1))
async def test_a_session_goes_on_within_its_sentence(channel: grpc.aio.Channel, cut: int) -> None:
    first, _, ended = await streamed(channel, "alone", [WORDS[:cut]] if cut else [], state=INTO)
    rest: list[Piece] = [WORDS[cut:]] if cut < len(WORDS) else []
    then, _, finished = await streamed(channel, "alone", rest, state=INTO)
    (expected,) = await whole(channel, "alone", WORDS)
    assert [(tag.token, tag.label, tag.score, tag.position) for tag in [*first, *then]] == [
        (tag.token, tag.label, tag.score, tag.position) for tag in expected.tags
    ]
    assert (ended.state.position, finished.state.position) == (cut, len(WORDS))
    assert (ended.tokens, finished.tokens) == (cut, len(WORDS) - cut)


async def test_a_session_that_ended_its_sentence_begins_another(channel: grpc.aio.Channel) -> None:
    for model in ("alone", "crf"):
        await streamed(channel, model, [WORDS[:4], SENTENCE_END], state=INTO)
        tags, _, _ = await streamed(channel, model, [SENTENCE_END, WORDS[4:7], SENTENCE_END, WORDS[7:]], state=INTO)
        expected = [tag for each in await whole(channel, model, WORDS[4:7], WORDS[7:]) for tag in each.tags]
        assert [tag.label for tag in tags] == [tag.label for tag in expected]
        assert [tag.position for tag in tags] == list(range(4, len(WORDS)))
        await SessionServiceStub(channel).DeleteSession(session_pb2.DeleteSessionRequest(session_id="one"))


async def test_a_sentence_may_be_ended_by_the_next_stream(channel: grpc.aio.Channel) -> None:
    await streamed(channel, "alone", [WORDS[:4]], state=INTO)
    tags, _, _ = await streamed(channel, "alone", [SENTENCE_END, WORDS[4:]], state=INTO)
    (expected,) = await whole(channel, "alone", WORDS[4:])
    assert [tag.label for tag in tags] == [tag.label for tag in expected.tags]


async def test_a_sentence_of_a_crf_goes_on_after_its_last_label(channel: grpc.aio.Channel) -> None:
    (expected,) = await whole(channel, "crf", WORDS)
    whole_row = [tag.label for tag in expected.tags]
    for cut in range(1, len(WORDS)):
        first, _, _ = await streamed(channel, "crf", [WORDS[:cut]], state=INTO)
        then, _, _ = await streamed(channel, "crf", [WORDS[cut:]], state=INTO)
        row = [tag.label for tag in [*first, *then]]
        if row[:cut] == whole_row[:cut]:  # what was decided at the cut is the beginning of the best row
            assert row == whole_row
        await SessionServiceStub(channel).DeleteSession(session_pb2.DeleteSessionRequest(session_id="one"))


async def test_a_snapshot_goes_on_too(channel: grpc.aio.Channel) -> None:
    snapshot = state_pb2.StateOptions(destination=state_pb2.STATE_DESTINATION_SNAPSHOT)
    _, _, ended = await streamed(channel, "alone", [WORDS[:4]], state=snapshot)
    tags, _, _ = await streamed(
        channel, "alone", [WORDS[4:]], state=state_pb2.StateOptions(snapshot=ended.state.snapshot)
    )
    (expected,) = await whole(channel, "alone", WORDS)
    assert [tag.label for tag in tags] == [tag.label for tag in expected.tags[4:]]


async def test_a_retried_stream_is_answered_again_and_not_applied_twice(channel: grpc.aio.Channel) -> None:
    await streamed(channel, "crf", [WORDS[:2]], state=INTO)
    first, _, ended = await streamed(channel, "crf", [WORDS[2:6]], state=INTO, request_id="r")
    again, _, repeated = await streamed(channel, "crf", [WORDS[2:6]], state=INTO, request_id="r")
    assert again == first
    assert (ended.state.already_applied, repeated.state.already_applied) == (False, True)
    assert repeated.state.position == 6


async def test_a_stream_that_its_caller_leaves_keeps_nothing(channel: grpc.aio.Channel) -> None:
    await streamed(channel, "alone", [WORDS[:1]], state=INTO)
    call = TagCall(channel, "alone", state=INTO)
    assert (await call.begin()).position == 1
    await call.send(WORDS[1:3])
    await call.tags(2)
    call.call.cancel()
    waits = state_pb2.StateOptions(session_id="one", busy_policy=state_pb2.BUSY_POLICY_WAIT, expected_position=1)
    tags, _, finished = await streamed(channel, "alone", [WORDS[1:2]], state=waits)
    assert (tags[0].position, finished.state.position) == (1, 2)


async def test_positions_of_spans_go_on(channel: grpc.aio.Channel) -> None:
    outputs = pb.TagOutputs(spans=True)
    await streamed(channel, "crf", [WORDS[:3], SENTENCE_END], state=INTO)
    tags, spans, _ = await streamed(channel, "crf", [WORDS[3:]], state=INTO, outputs=outputs)
    (expected,) = await whole(channel, "crf", WORDS[3:], spans=True)
    assert [(span.first_position - 3, span.last_position - 3, span.text) for span in spans] == [
        (span.first_position, span.last_position, span.text) for span in expected.spans
    ]
    assert tags[0].position == 3
