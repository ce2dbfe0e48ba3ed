from __future__ import annotations

import asyncio

import pytest

from seqserve.server.decoding.logprobs import Candidate, StepReport
from seqserve.server.engine.output_stream import (
    BeamResult,
    FinishReason,
    OutputStream,
    SampleResult,
    ScoreResult,
    StreamOutput,
    Times,
    TokenOutput,
)
from seqserve.server.errors import DeadlineError
from tests.server.engine.rig import at_once, taken

TIMES = Times(0.0, 0.0, 0.0, 0.0)


def an_end(tokens: int) -> SampleResult:
    return SampleResult(FinishReason.LENGTH, TIMES, tokens, tokens)


async def test_the_reader_takes_all_that_has_gathered_in_order() -> None:
    stream = OutputStream(samples=2)
    for token in range(5):
        stream.put(TokenOutput(token % 2, token, held_bytes=token))
    stream.wake()
    gathered = await stream.take()
    assert {sample: outputs.tokens for sample, outputs in gathered.items()} == {0: [0, 2, 4], 1: [1, 3]}
    assert gathered[0].held_bytes == 4
    assert stream.taken == [3, 2]


async def test_a_reader_that_is_woken_for_what_it_has_taken_waits_on() -> None:
    stream = OutputStream()
    report = StepReport(Candidate(1, -1.0, 1), ())
    reading = asyncio.ensure_future(stream.take_reports())
    await asyncio.sleep(0)
    stream.wake()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not reading.done()
    assert stream.put(StreamOutput([report], 1, rests=True))
    stream.wake()
    assert await reading == [report]
    assert stream.taken == [1]


async def test_the_reader_waits_until_it_is_woken() -> None:
    stream = OutputStream()
    reading = asyncio.ensure_future(stream.take())
    await asyncio.sleep(0)
    stream.put(TokenOutput(0, 7))
    await asyncio.sleep(0)
    assert not reading.done()
    stream.wake()
    stream.wake()  # once more does no harm
    assert (await reading)[0].tokens == [7]


async def test_a_reader_that_leaves_while_it_waits_leaves_nothing_behind() -> None:
    stream = OutputStream()
    reading = asyncio.ensure_future(stream.take())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    stream.put(TokenOutput(0, 7))
    stream.wake()
    assert (await stream.take())[0].tokens == [7]


def test_a_first_token_an_end_a_result_and_an_error_are_not_kept_waiting() -> None:
    stream = OutputStream()
    assert stream.put(TokenOutput(0, 1))
    assert not stream.put(TokenOutput(0, 2))
    assert not stream.put(TokenOutput(0, 3))
    assert stream.put(TokenOutput(0, 4, end=an_end(4)))
    assert stream.put(DeadlineError("late"))
    assert OutputStream().put(ScoreResult([], TIMES))


async def test_what_comes_while_the_reader_writes_gathers_until_it_is_told_again() -> None:
    stream = OutputStream()
    stream.put(TokenOutput(0, 1))
    stream.wake()
    assert (await stream.take())[0].tokens == [1]
    stream.put(TokenOutput(0, 2))
    reading = asyncio.ensure_future(stream.take())
    await asyncio.sleep(0)
    stream.put(TokenOutput(0, 3))
    assert not reading.done()
    stream.wake()
    assert (await reading)[0].tokens == [2, 3]


def test_an_error_comes_after_all_that_was_there_before() -> None:
    stream = OutputStream()
    stream.put(TokenOutput(0, 1))
    stream.put(DeadlineError("too late"))
    assert taken(stream)[0].tokens == [1]
    for _ in range(2):  # and it stays
        with pytest.raises(DeadlineError, match="too late"):
            taken(stream)


def test_the_engine_is_told_that_there_is_room_again() -> None:
    reported: list[int] = []
    stream = OutputStream(lambda: reported.append(stream.taken[0]))
    stream.put(TokenOutput(0, 1))
    taken(stream)
    assert reported == [1]


def test_the_prompt_and_the_reports_come_with_their_tokens() -> None:
    stream = OutputStream()
    report = StepReport(Candidate(1, -0.5, 1), ())
    stream.put(TokenOutput(0, 1, report=report, prompt=[report, report]))
    stream.put(TokenOutput(0, 2, report=report))
    gathered = taken(stream)[0]
    assert gathered.reports == [report, report]
    assert stream.prompt == [report, report]
    assert gathered.end is None


def test_a_result_is_taken_whole_and_has_to_be_of_the_kind_that_was_asked_for() -> None:
    stream = OutputStream()
    stream.put(result := ScoreResult([], TIMES))
    stream.wake()
    assert at_once(stream.take_result(ScoreResult)) is result
    with pytest.raises(TypeError, match="BeamResult"):
        at_once(stream.take_result(BeamResult))
