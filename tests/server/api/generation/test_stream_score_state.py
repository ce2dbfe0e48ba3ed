"""StreamScore with a state: out of a session or a snapshot, and back. Held against one Score of it all."""

from __future__ import annotations

from typing import Any

import grpc.aio
import pytest

from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import session_pb2, state_pb2
from seqserve.v1.session_pb2_grpc import SessionServiceStub
from tests.server.api.generation.generating import asks, generated
from tests.server.api.generation.scoring import Scored, Scoring, assert_same, message, streamed, whole

PENALISED = {"repetition_penalty": 1.3, "frequency_penalty": 0.4}
TEXT = "the cat sat on the mat, and the dogs"
SNAPSHOT = state_pb2.STATE_DESTINATION_SNAPSHOT


def session(name: str = "s", **options: Any) -> state_pb2.StateOptions:
    return state_pb2.StateOptions(session_id=name, create_if_absent=True, **options)


async def described(channel: grpc.aio.Channel, name: str = "s") -> session_pb2.Session:
    stub: Any = SessionServiceStub(channel)
    answer: session_pb2.GetSessionResponse = await stub.GetSession(session_pb2.GetSessionRequest(session_id=name))
    return answer.session


def joined(*parts: Scored) -> list[common.StepLogprobs]:
    return [step for part in parts for step in part.steps]


@pytest.mark.parametrize("model", ["lstm", "gru"])
@pytest.mark.parametrize("cuts", [(1, 35), (10, 26), (35, 1), (7, 0, 29)])
async def test_a_text_is_scored_in_several_streams_of_a_session_as_in_one(
    channel: grpc.aio.Channel, model: str, cuts: tuple[int, ...]
) -> None:
    parts: list[Scored] = []
    first = 0
    for count in cuts:
        stream = Scoring(channel, model, state=session(), top_logprobs=2)
        assert (await stream.begin()).position == first
        await stream.send(*TEXT[first : first + count])
        parts.append(await stream.finish())
        first += count
        assert parts[-1].finished.state.position == (await described(channel)).position == first
        assert parts[-1].finished.state.session_id == "s"
    assert joined(*parts) == list((await whole(channel, model, TEXT, top=2)).tokens)
    assert [position for part in parts for position in part.positions] == list(range(1, len(TEXT)))


@pytest.mark.parametrize("by", ["session", "snapshot"])
async def test_generation_goes_on_after_a_stream_as_after_a_prompt(channel: grpc.aio.Channel, by: str) -> None:
    """Penalties included: the stream has counted its tokens."""
    expected = await generated(channel, asks(TEXT, sampling=PENALISED))
    into = session() if by == "session" else state_pb2.StateOptions(destination=SNAPSHOT)
    reported = await streamed(channel, "lstm", [TEXT[:9], TEXT[9:]], state=into)
    goes_on = session() if by == "session" else state_pb2.StateOptions(snapshot=reported.finished.state.snapshot)
    answer = await generated(channel, asks("", sampling=PENALISED, state=goes_on))
    assert (answer.text, answer.started.position) == (expected.text, len(TEXT))


async def test_a_stream_goes_on_after_a_generation(channel: grpc.aio.Channel) -> None:
    answer = await generated(channel, asks("the cat", state=session()))
    text = "the cat" + answer.text
    reported = await streamed(channel, "lstm", list(TEXT), state=session())
    assert reported.steps == list((await whole(channel, "lstm", text + TEXT)).tokens)[len(text) - 1 :]
    score = await whole(channel, "lstm", "!", state=session())  # and so does Score
    assert score.tokens[0] == (await whole(channel, "lstm", text + TEXT + "!")).tokens[-1]


async def test_tokens_are_kept_where_that_is_asked_for(channel: grpc.aio.Channel) -> None:
    await streamed(channel, "lstm", [TEXT[:5], TEXT[5:]], state=session(keep_tokens=True))
    assert (await described(channel)).keep_tokens
    stub: Any = SessionServiceStub(channel)
    exported = await stub.ExportSession(session_pb2.ExportSessionRequest(session_id="s"))
    kept = await streamed(channel, "lstm", ["."], state=state_pb2.StateOptions(snapshot=exported.snapshot))
    assert kept.steps == [(await whole(channel, "lstm", TEXT + ".")).tokens[-1]]


async def test_a_long_stream_leaves_what_short_ones_do(channel: grpc.aio.Channel) -> None:
    """More tokens than are counted at a time."""
    text = TEXT * 250
    await streamed(channel, "lstm", [text[:6000], text[6000:]], state=session("one"))
    for start in range(0, len(text), 2500):
        await whole(channel, "lstm", text[start : start + 2500], state=session("many"))
    answers = [await generated(channel, asks("", sampling=PENALISED, state=session(name))) for name in ("one", "many")]
    assert answers[0].text == answers[1].text


async def test_a_stream_that_fails_leaves_its_session_as_it_was(channel: grpc.aio.Channel) -> None:
    await streamed(channel, "lstm", ["the "], state=session())
    stream = Scoring(channel, state=session())
    await stream.begin()
    await stream.send("cat", "", "sat")
    await stream.scores(3)
    with pytest.raises(grpc.aio.AioRpcError, match="text is empty"):
        await stream.call.read()
    assert (await described(channel)).position == 4
    reported = await streamed(channel, "lstm", ["cat"], state=session())
    assert reported.steps == list((await whole(channel, "lstm", "the cat")).tokens)[3:]


async def test_a_retry_is_answered_again_and_not_applied_twice(channel: grpc.aio.Channel) -> None:
    await streamed(channel, "lstm", ["the "], state=session())
    config = {"state": session(), "request_id": "again"}
    first, second = [await streamed(channel, "lstm", ["cat"], **config) for _ in range(2)]
    assert first.steps == second.steps
    assert not first.finished.state.already_applied
    assert second.finished.state.already_applied
    assert first.finished.state.position == second.finished.state.position == (await described(channel)).position == 7


async def test_a_stream_begins_where_its_caller_believes_or_not_at_all(channel: grpc.aio.Channel) -> None:
    await streamed(channel, "lstm", ["the "], state=session())
    stream = Scoring(channel, state=session(expected_position=3))
    await stream.send(pb.StreamScoreRequest(config=stream.config), message("cat"))
    with pytest.raises(grpc.aio.AioRpcError, match="position"):
        await stream.call.read()
    assert_same(await streamed(channel, "lstm", ["the ", "cat"]), await whole(channel, "lstm", "the cat"))
