from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from seqserve.server.engine.forward import ForwardSequence
from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.engine.output_stream import OutputStream
from seqserve.server.engine.requests import Admission, ForwardRequest, ScoringRequest
from seqserve.server.engine.scheduler import Scheduler
from seqserve.server.engine.scoring import ScoringSequence
from seqserve.server.engine.sequence import SequenceContext
from seqserve.server.engine.steps import DecodeStep, PrefillStep
from seqserve.server.errors import QueueFullError
from seqserve.server.model.inputs import token_inputs
from seqserve.server.settings import BatchSettings
from seqserve.server.testing import ManualClock
from tests.server.engine.sequences import (
    ENDLESS,
    a_generation,
    a_stream,
    carry_out,
    decode_steps,
    one_step,
    scheduler_of,
)


def _context() -> SequenceContext:
    return SequenceContext((), OutputStream(), Admission(), 0.0)


def test_nothing_to_do_is_no_step() -> None:
    scheduler = scheduler_of()
    assert scheduler.idle
    assert scheduler.schedule() is None


def test_a_full_queue_rejects_the_newcomer_and_keeps_the_rest() -> None:
    scheduler = scheduler_of(queue_depth_max=2, retry_after_s=3.5)
    first, second = a_generation(), a_generation()
    scheduler.add(first)
    scheduler.add(second)
    with pytest.raises(QueueFullError, match="2 requests are waiting") as caught:
        scheduler.add(a_generation(deadline_s=1.0))
    assert caught.value.retry_after_s == 3.5
    assert list(scheduler.waiting) == [first, second]
    assert scheduler.expired(2.0) == []


def test_those_who_run_leave_room_in_the_queue() -> None:
    scheduler = scheduler_of(queue_depth_max=1, size_max=1)
    scheduler.add(a_generation())
    one_step(scheduler)
    scheduler.add(a_generation())
    with pytest.raises(QueueFullError):
        scheduler.add(a_generation())


@pytest.mark.parametrize("block", [1, 16, 33])
def test_a_long_prompt_delays_running_streams_by_one_bounded_piece_at_a_time(block: int) -> None:
    scheduler = scheduler_of(prefill_length_max=block, prefill_tokens_max=4096)
    streams = [a_generation() for _ in range(32)]
    for stream in streams:
        scheduler.add(stream)
    decode_steps(scheduler, 1)
    scheduler.add(a_generation(2000))
    scheduler.add(a_generation(1999, caller="another"))
    clock = ManualClock()
    pause_s, decodes = 0.0, 0
    while any(sequence.remaining for sequence in scheduler.prefilling) or not decodes:
        step = scheduler.schedule()
        assert step is not None
        steps = carry_out(scheduler, step)
        clock.advance(steps)  # a second a step of the graph
        if isinstance(step, PrefillStep):
            pause_s += steps
            assert pause_s <= block
        else:
            assert set(streams) <= set(step.members)
            pause_s, decodes = 0.0, decodes + 1
    assert decodes >= 2000 // block - 1
    assert clock.now_s <= 2 * 2000 + decodes  # and the prompts are read at a good pace


def test_a_prompt_that_disturbs_nobody_is_read_in_one_piece() -> None:
    scheduler = scheduler_of(prefill_length_max=16, prefill_tokens_max=512)
    sequence = a_generation(500)
    scheduler.add(sequence)
    step = one_step(scheduler)
    assert step == PrefillStep([(sequence, 496)])  # up to a whole block, for the cache
    assert one_step(scheduler) == PrefillStep([(sequence, 4)])
    assert one_step(scheduler) == DecodeStep([sequence])


def test_a_short_prompt_rides_in_the_decoding_batch() -> None:
    scheduler = scheduler_of(inline_prefill_tokens_max=8)
    stream, short, long = a_generation(), a_generation(8), a_generation(9)
    scheduler.add(stream)
    decode_steps(scheduler, 1)
    scheduler.add(short)
    scheduler.add(long)
    assert one_step(scheduler) == PrefillStep([(long, 9)])
    step = scheduler.schedule()
    assert isinstance(step, DecodeStep)
    assert set(step.sequences) == {stream, short, long}
    for _ in range(8):
        decode_steps(scheduler, 1)
    assert short.generated == 1


def test_prompts_of_like_length_share_a_run_within_its_limit() -> None:
    scheduler = scheduler_of(prefill_tokens_max=64)
    twenty = [a_generation(20) for _ in range(6)]
    seven, ten = a_generation(7), a_generation(10)
    for sequence in (twenty[0], seven, ten, *twenty[1:3]):
        scheduler.add(sequence)
    step = scheduler.schedule()
    assert isinstance(step, PrefillStep)  # a block of the long ones, and no row shorter than half of it
    assert dict(step.rows) == {twenty[0]: 16, ten: 10, twenty[1]: 16, twenty[2]: 16}
    scheduler = scheduler_of(prefill_tokens_max=64)
    for sequence in (twenty[0], ten, *twenty[1:]):
        scheduler.add(sequence)
    step = scheduler.schedule()
    assert isinstance(step, PrefillStep)  # where not all fit, those of the same length
    assert [count for _, count in step.rows] == [16] * 4
    assert step.rows[0][0] is twenty[0]


def test_another_caller_gets_in_within_a_slice_of_a_greedy_one() -> None:
    slice_tokens = 50
    scheduler = scheduler_of(size_max=8, slice_tokens=slice_tokens)
    for _ in range(40):
        scheduler.add(a_generation(max_tokens=ENDLESS, caller="greedy"))
    decode_steps(scheduler, slice_tokens + 7)  # whenever it comes
    modest = a_generation(caller="modest")
    scheduler.add(modest)
    steps = 0
    while not modest.generated:
        steps += isinstance(one_step(scheduler), DecodeStep)
    assert steps <= slice_tokens


def test_callers_share_the_tokens_whatever_the_number_of_their_requests() -> None:
    scheduler = scheduler_of(size_max=4, slice_tokens=10, queue_depth_max=1000)
    sequences = [a_generation(max_tokens=ENDLESS, caller="greedy") for _ in range(60)]
    sequences += [a_generation(max_tokens=ENDLESS, caller=caller) for caller in ("ann", "bob") for _ in range(6)]
    for sequence in sequences:
        scheduler.add(sequence)
    decode_steps(scheduler, 3000)
    tokens: Counter[str] = Counter()
    for sequence in sequences:
        tokens[sequence.admission.caller] += sequence.generated
    total = sum(tokens.values())
    assert total >= 4 * 3000
    assert all(0.3 <= count / total <= 0.37 for count in tokens.values()), tokens


def test_the_requests_of_one_caller_take_turns() -> None:
    scheduler = scheduler_of(size_max=2, slice_tokens=10)
    sequences = [a_generation(max_tokens=ENDLESS) for _ in range(5)]
    for sequence in sequences:
        scheduler.add(sequence)
    decode_steps(scheduler, 1000)
    counts = [sequence.generated for sequence in sequences]
    assert max(counts) - min(counts) <= 2 * 10


def test_nobody_makes_room_if_nobody_waits() -> None:
    scheduler = scheduler_of(size_max=2, slice_tokens=1)
    for _ in range(2):
        scheduler.add(a_generation(max_tokens=ENDLESS))
    one_step(scheduler)
    step = scheduler.schedule()
    assert isinstance(step, DecodeStep)
    for _ in range(100):
        carry_out(scheduler, step)
        again = scheduler.schedule()
        assert isinstance(again, DecodeStep)
        assert again.sequences is step.sequences  # so the batch carries its state on without a copy


def test_the_more_important_request_takes_the_row_of_the_least_important_at_once() -> None:
    scheduler = scheduler_of(size_max=2)
    least, less = a_generation(priority=-5, max_tokens=ENDLESS), a_generation(priority=-1, max_tokens=ENDLESS)
    scheduler.add(less)
    scheduler.add(least)
    decode_steps(scheduler, 3)
    urgent = a_generation(priority=1, max_tokens=5)
    scheduler.add(urgent)
    one_step(scheduler)
    assert set(scheduler.decoding) == {less, urgent}
    assert list(scheduler.waiting) == [least]
    decode_steps(scheduler, 10)
    assert urgent.ended
    assert set(scheduler.decoding) == {less, least}  # and it gets it back


def test_a_less_important_request_waits_for_however_long() -> None:
    scheduler = scheduler_of(size_max=1, slice_tokens=1)
    scheduler.add(a_generation(max_tokens=ENDLESS))
    one_step(scheduler)
    scheduler.add(less := a_generation(priority=-1))
    decode_steps(scheduler, 100)
    assert list(scheduler.waiting) == [less]


def test_a_rider_is_not_sent_back_in_line_while_its_state_is_in_the_batch() -> None:
    """Read apart later, it would go on from the state that it had before it joined."""
    scheduler = scheduler_of(size_max=2, inline_prefill_tokens_max=8)
    running = a_generation(priority=1, max_tokens=ENDLESS)
    rider = a_generation(8, priority=0)
    scheduler.add(running)
    one_step(scheduler)
    scheduler.add(rider)
    decode_steps(scheduler, 3)
    assert rider.remaining == 5
    scheduler.add(a_generation(100, priority=2))
    for _ in range(4):
        one_step(scheduler)
        assert rider in scheduler.decoding


def test_a_search_waits_until_there_is_room_for_all_its_beams() -> None:
    scheduler = scheduler_of(size_max=4, slice_tokens=20)
    for _ in range(3):
        scheduler.add(a_generation(max_tokens=ENDLESS))
    decode_steps(scheduler, 2)
    search = a_generation(beam_width=3, max_tokens=5)
    scheduler.add(search)
    steps = 0
    while not search.ended:
        step = one_step(scheduler)
        steps += 1
        if isinstance(step, DecodeStep):
            assert len(step.sequences) <= 4
    assert steps <= 20 + 10
    assert all(member.generated == 5 for member in search.family)


def test_beams_are_never_parted() -> None:
    scheduler = scheduler_of(size_max=4, slice_tokens=2)
    search = a_generation(beam_width=3, max_tokens=50)
    scheduler.add(search)
    one_step(scheduler)
    for _ in range(8):
        scheduler.add(a_generation(max_tokens=ENDLESS, priority=1))
    for _ in range(40):
        step = one_step(scheduler)
        if isinstance(step, DecodeStep):
            assert set(search.family) <= set(step.sequences)


def test_what_cannot_be_cut_is_read_whole() -> None:
    scheduler = Scheduler(BatchSettings(prefill_length_max=4, prefill_tokens_max=100), cuts=False)
    sequences = [
        ForwardSequence(_context(), ForwardRequest(token_inputs([0] * length)))
        for length in (300, 20, 21, 25, 11, 50, 300)
    ]
    for sequence in sequences:
        scheduler.add(sequence)
    while (step := scheduler.schedule()) is not None:
        assert isinstance(step, PrefillStep)
        counts = [count for _, count in step.rows]
        assert [sequence.remaining for sequence, _ in step.rows] == counts
        assert len(counts) == 1 or len(counts) * max(counts) <= 100
        carry_out(scheduler, step)
    assert all(sequence.ended for sequence in sequences)


def test_scores_are_read_beside_generations() -> None:
    scheduler = scheduler_of(inline_prefill_tokens_max=32)
    stream = a_generation()
    scheduler.add(stream)
    decode_steps(scheduler, 1)
    scoring = ScoringSequence(_context(), ScoringRequest(token_inputs(np.zeros(5, np.int32))))
    scheduler.add(scoring)
    assert one_step(scheduler) == PrefillStep([(scoring, 5)])
    assert one_step(scheduler) == DecodeStep([stream])
    assert isinstance(stream, GenerationSequence)
    assert stream.generated == 3


@pytest.mark.parametrize(("others", "longest"), [([], 20), (["stream"], 4), (["decoding"], 4), (["prefilling"], 4)])
def test_a_stream_has_long_runs_only_while_nothing_else_waits_for_them(others: list[str], longest: int) -> None:
    scheduler = scheduler_of(prefill_length_max=4, prefill_tokens_max=64, inline_prefill_tokens_max=0)
    if "stream" in others:
        scheduler.open(a_stream())
    if "decoding" in others:
        scheduler.add(a_generation())
        decode_steps(scheduler, 1)
    stream = a_stream()
    stream.push(token_inputs([0] * 20))
    scheduler.open(stream)
    if "prefilling" in others:
        scheduler.prefilling.append(a_generation(30))
    step = scheduler._stream_step()
    assert step is not None
    assert step.rows == [(stream, longest)]
