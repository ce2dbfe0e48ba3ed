"""Generate and Score with a state: out of a session or a snapshot, and back. Held against one request for it all."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import session_pb2, state_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from seqserve.v1.session_pb2_grpc import SessionServiceStub
from tests.calls import Generated, collect
from tests.conftest import MadeRepository
from tests.server.api.generation.generating import TOKENS_MAX, asks, generated, refused

PENALISED = {"repetition_penalty": 1.3, "frequency_penalty": 0.4}
MODELS = ["lstm", "gru"]


def session(name: str = "s", **options: Any) -> state_pb2.StateOptions:
    return state_pb2.StateOptions(session_id=name, create_if_absent=True, **options)


def goes_on(tokens: int, state: state_pb2.StateOptions, text: str = "", **fields: Any) -> pb.GenerateRequest:
    return asks(text, stopping={"max_tokens": tokens}, state=state, **fields)


async def position(channel: grpc.aio.Channel, name: str = "s") -> int:
    stub: Any = SessionServiceStub(channel)
    answer = await stub.GetSession(session_pb2.GetSessionRequest(session_id=name))
    return int(answer.session.position)


def left(answer: Generated) -> state_pb2.StateResult:
    return answer.finished.state


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("cuts", [(1, 39), (20, 20), (39, 1), (3, 4, 5, 6, 22)])
async def test_a_text_is_the_same_in_one_request_or_in_several_of_a_session(
    channel: grpc.aio.Channel, model: str, cuts: tuple[int, ...]
) -> None:
    whole = await generated(channel, asks(model=model, sampling=PENALISED))
    text = ""
    for number, count in enumerate(cuts):
        request = goes_on(count, session(), "" if number else "the cat", model=model, sampling=PENALISED)
        answer = await generated(channel, request)
        assert answer.started.position == 7 + len(text)
        assert answer.started.prompt_tokens == (0 if number else 7)
        text += answer.text
        assert left(answer).position == await position(channel) == 7 + len(text)
        assert left(answer).session_id == "s"
    assert text == whole.text


@pytest.mark.parametrize("model", MODELS)
async def test_a_text_is_the_same_in_several_requests_that_carry_their_state(made: MadeRepository, model: str) -> None:
    """Each to a server that has never seen the sequence: no store is needed."""
    snapshot, text = b"", ""
    for count in (10, 1, 29):
        state = state_pb2.StateOptions(destination=state_pb2.STATE_DESTINATION_SNAPSHOT)
        if snapshot:
            state.snapshot = snapshot
        async with running_server(made.root) as address, grpc.aio.insecure_channel(address) as channel:
            request = goes_on(count, state, "" if text else "the cat", model=model, sampling=PENALISED)
            answer = await generated(channel, request)
            whole = await generated(channel, asks(model=model, sampling=PENALISED))
        snapshot, text = left(answer).snapshot, text + answer.text
        assert left(answer).position == 7 + len(text)
    assert text == whole.text


async def test_a_conversation_is_what_one_long_prompt_would_be(channel: grpc.aio.Channel) -> None:
    error_text = ""
    for prompt in ("the cat ", "sat", " on the mat, "):
        error_text += prompt
        answer = await generated(channel, goes_on(12, session(), prompt))
        assert answer.text == (await generated(channel, asks(error_text, stopping={"max_tokens": 12}))).text
        error_text += answer.text


@pytest.mark.parametrize("source", ["checkpoint", "now"])
async def test_both_children_of_a_fork_tell_what_an_unforked_session_would(
    channel: grpc.aio.Channel, source: str
) -> None:
    stub: Any = SessionServiceStub(channel)
    first = await generated(channel, goes_on(10, session(checkpoint="ten"), "the cat"))
    if source == "checkpoint":
        await generated(channel, goes_on(5, session(), "away "))
    fork = session_pb2.ForkSessionRequest(session_id="s", new_session_id="twin")
    rewind = session_pb2.RewindSessionRequest(session_id="s", checkpoint="ten")
    if source == "checkpoint":
        fork.checkpoint = "ten"
    await stub.ForkSession(fork)
    if source == "checkpoint":
        await stub.RewindSession(rewind)
    calls = [generated(channel, goes_on(30, session(name))) for name in ("s", "twin")]
    original, twin = await asyncio.gather(*calls)
    whole = await generated(channel, asks())
    assert first.text + original.text == first.text + twin.text == whole.text


async def test_many_sessions_at_once_each_go_on_with_their_own(channel: grpc.aio.Channel) -> None:
    async def talk(number: int) -> str:
        sampling, name = {"seed": number}, f"s{number}"
        first = await generated(channel, goes_on(5 + number, session(name), "a cat", sampling=sampling))
        return first.text + (await generated(channel, goes_on(35 - number, session(name), sampling=sampling))).text

    texts = await asyncio.gather(*[talk(number) for number in range(20)])
    for number, text in enumerate(texts):
        assert text == (await generated(channel, asks("a cat", sampling={"seed": number}))).text


@pytest.mark.parametrize("destination", ["DISCARD", "SNAPSHOT"])
async def test_a_session_that_is_only_looked_into_stays_as_it_was(channel: grpc.aio.Channel, destination: str) -> None:
    await generated(channel, goes_on(10, session(), "the cat"))
    look = session(destination=getattr(state_pb2, f"STATE_DESTINATION_{destination}"))
    looks = [await generated(channel, goes_on(30, look)) for _ in range(2)]
    assert await position(channel) == 17
    assert [left(answer).position for answer in looks] == [47, 47]
    assert not any(left(answer).session_id for answer in looks)
    assert looks[0].text == looks[1].text == (await generated(channel, goes_on(30, session()))).text


async def test_several_samples_may_begin_at_a_session(channel: grpc.aio.Channel) -> None:
    first = await generated(channel, goes_on(10, session(), "the cat"))
    look = session(destination=state_pb2.STATE_DESTINATION_SNAPSHOT)
    several = await generated(channel, goes_on(8, look, sampling={"n": 3}))
    texts = ["".join(piece.text for piece in several.pieces if piece.sample == sample) for sample in range(3)]
    assert len(set(texts)) == 3
    carried = state_pb2.StateOptions(snapshot=left(several).snapshot)  # of sample 0
    rest = await generated(channel, goes_on(22, carried))
    assert first.text + texts[0] + rest.text == (await generated(channel, asks())).text


async def test_the_best_of_several_is_what_a_session_goes_on_from(channel: grpc.aio.Channel) -> None:
    answer = await generated(channel, goes_on(9, session(), "the cat", sampling={"best_of": 5}))
    rest = await generated(channel, goes_on(9, session()))
    error_text = "the cat" + answer.text
    assert rest.text == (await generated(channel, asks(error_text, stopping={"max_tokens": 9}))).text


async def test_a_request_whose_answer_was_lost_is_answered_again_and_applied_once(channel: grpc.aio.Channel) -> None:
    await generated(channel, goes_on(10, session(), "the cat"))
    request = goes_on(10, session(expected_position=17), request_id="r1")
    request.sampling.ClearField("seed")  # the server's own is kept with the session
    first, again = await generated(channel, request), await generated(channel, request)
    assert (again.text, again.started.seed) == (first.text, first.started.seed)
    assert (left(first).already_applied, left(again).already_applied) == (False, True)
    assert left(first).position == left(again).position == await position(channel) == 27
    request.resume.seed = first.started.seed
    request.resume.received.add(ids=first.ids[:4])
    rest = await generated(channel, request)
    assert (rest.text, left(rest).already_applied) == (first.text[4:], True)
    request.resume.seed += 1
    reported = await refused(channel, request)
    assert (reported.reason, reported.field) == ("ERROR_REASON_INVALID_FIELD", "resume.seed")


async def test_a_caller_who_is_wrong_about_the_position_is_told_both(channel: grpc.aio.Channel) -> None:
    await generated(channel, goes_on(10, session(), "the cat"))
    reported = await refused(channel, goes_on(10, session(expected_position=16)))
    assert (reported.code, reported.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_POSITION_MISMATCH")
    assert "16" in reported.message
    assert "17" in reported.message
    assert await position(channel) == 17


@pytest.mark.parametrize("ending", ["cancelled", "late", "refused"])
async def test_a_request_that_does_not_come_to_its_end_leaves_the_session_as_it_was(
    channel: grpc.aio.Channel, ending: str
) -> None:
    whole = (await generated(channel, asks())).text
    first = await generated(channel, goes_on(10, session(), "the cat"))
    stub: Any = GenerationServiceStub(channel)
    endless = goes_on(TOKENS_MAX, session(), "and ")
    if ending == "cancelled":
        call = stub.Generate(endless)
        for _ in range(4):
            await call.read()
        call.cancel()
    elif ending == "late":
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await collect(stub.Generate(endless, timeout=0.2))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    else:
        await refused(channel, goes_on(5, session(), "The"))  # there is no T in the vocabulary
    rest = await generated(channel, goes_on(30, session(busy_policy=state_pb2.BUSY_POLICY_WAIT)))
    assert first.text + rest.text == whole


async def test_a_session_is_scored_in_parts_as_it_would_be_whole(channel: grpc.aio.Channel) -> None:
    stub: Any = GenerationServiceStub(channel)
    model, text = common.ModelRef(name="lstm"), "the cat sat on the mat."
    whole = await stub.Score(pb.ScoreRequest(model=model, inputs=[pb.ScoreInput(text=text)], logprobs=1))
    for cuts in ((4, 11, len(text)), tuple(range(1, len(text) + 1))):
        begin, name, steps, state = 0, f"s{len(cuts)}", list[common.StepLogprobs](), state_pb2.StateResult()
        for end in cuts:
            part = pb.ScoreRequest(
                model=model, inputs=[pb.ScoreInput(text=text[begin:end])], logprobs=1, state=session(name)
            )
            answer = await stub.Score(part)
            steps += answer.scores[0].tokens
            begin, state = end, answer.state
        assert steps == list(whole.scores[0].tokens)
        assert state.position == len(text)
        rest = await generated(channel, goes_on(20, session(name)))
        assert rest.text == (await generated(channel, asks(text, stopping={"max_tokens": 20}))).text


@pytest.mark.parametrize("sampling", [{}, {"n": 3}])
async def test_a_stream_that_broke_goes_on_without_anything_kept_on_the_server(
    channel: grpc.aio.Channel, sampling: dict[str, Any]
) -> None:
    requested: dict[str, Any] = {"sampling": sampling, "stopping": {"max_tokens": 25, "stop": ["an", "e "]}}
    outputs = pb.GenerateOutputs(logprobs=1, prompt_logprobs=0)
    whole = await generated(channel, asks(**requested, outputs=outputs))
    texts, ids = _by_sample(whole)
    for cut in range(0, 26, 3):
        request = asks(**requested, outputs=outputs, resume=pb.ResumePoint(seed=1))
        for sample in sorted(ids):
            request.resume.received.add(ids=ids[sample][:cut])
        rest = await generated(channel, request)
        rest_texts, rest_ids = _by_sample(rest)
        assert list(rest.finished.samples) == list(whole.finished.samples)
        assert rest.started == whole.started
        for sample, tokens in ids.items():
            assert rest_ids.get(sample, []) == tokens[cut:]
            assert texts[sample].endswith(rest_texts.get(sample, ""))


def _by_sample(answer: Generated) -> tuple[dict[int, str], dict[int, list[int]]]:
    texts, ids = dict[int, str](), dict[int, list[int]]()
    for piece in answer.pieces:
        texts[piece.sample] = texts.get(piece.sample, "") + piece.text
        ids.setdefault(piece.sample, []).extend(piece.token_ids)
    return texts, ids
