"""How sequences leave the scheduler before their end, or pause: deadlines, readers that stall, cancels."""

from __future__ import annotations

import pytest

from seqserve.server.engine.steps import DecodeStep
from tests.server.engine.sequences import ENDLESS, a_generation, decode_steps, one_step, read_all, scheduler_of


def test_an_expired_sequence_is_taken_out_wherever_it_is() -> None:
    scheduler = scheduler_of(size_max=2, tokens_ahead_max=2)
    stalled = a_generation(deadline_s=5.0)
    scheduler.add(stalled)
    while not scheduler.paused:
        if scheduler.schedule() is not None:
            one_step(scheduler)
    decoding, reading, waiting = (
        a_generation(deadline_s=5.0),
        a_generation(1000, deadline_s=5.0),
        a_generation(deadline_s=5.0),
    )
    for sequence in (decoding, reading, waiting):
        scheduler.add(sequence)
    one_step(scheduler)
    places = (scheduler.paused, scheduler.decoding, scheduler.prefilling, list(scheduler.waiting))
    assert sorted(len(place) for place in places) in ([0, 1, 1, 2], [1, 1, 1, 1])
    assert scheduler.expired(4.999) == []
    assert set(scheduler.expired(5.0)) == {stalled, decoding, reading, waiting}
    assert scheduler.schedule() is None
    assert scheduler.idle
    assert all(sequence.ended for sequence in (stalled, decoding, reading, waiting))


def test_a_deadline_takes_out_all_samples() -> None:
    scheduler = scheduler_of(size_max=2)
    sequence = a_generation(samples=5, deadline_s=1.0)
    scheduler.add(sequence)
    decode_steps(scheduler, 2)
    assert scheduler.expired(1.0) == [sequence]
    assert all(member.ended for member in sequence.family)
    assert scheduler.idle


def test_the_first_sample_to_end_does_not_bring_the_deadline_upon_the_others() -> None:
    scheduler = scheduler_of()
    sequence = a_generation(samples=3, deadline_s=100.0)
    scheduler.add(sequence)
    decode_steps(scheduler, 1)
    sequence.ended = True
    decode_steps(scheduler, 1)
    assert scheduler.expired(1.0) == []
    assert not sequence.family[1].ended
    assert scheduler.expired(100.0) == [sequence]
    assert scheduler.idle


def test_deadlines_of_sequences_that_have_ended_are_not_kept_until_they_come() -> None:
    scheduler = scheduler_of()
    lasting = a_generation(deadline_s=1.0, max_tokens=ENDLESS)
    scheduler.add(lasting)
    for number in range(2000):
        sequence = a_generation(deadline_s=1e6 + number)
        scheduler.add(sequence)
        scheduler.remove(sequence)
        scheduler.expired(0.0)
    assert len(scheduler._deadlines) < 200
    assert scheduler.expired(1.0) == [lasting]


def test_a_reader_that_stalls_pauses_its_own_sequence_and_no_other() -> None:
    scheduler = scheduler_of(tokens_ahead_max=10)
    stalled, brisk = a_generation(max_tokens=ENDLESS), a_generation(max_tokens=ENDLESS)
    scheduler.add(stalled)
    scheduler.add(brisk)
    for _ in range(100):
        one_step(scheduler)
        read_all(brisk)
    assert stalled.generated == 10
    assert scheduler.paused == [stalled]
    assert brisk.generated > 90
    stalled.stream.taken[0] = 4  # not enough room yet
    one_step(scheduler)
    assert stalled.generated == 10
    stalled.stream.taken[0] = 5
    one_step(scheduler)
    assert stalled.generated == 11


def test_an_engine_whose_only_sequence_is_paused_rests() -> None:
    scheduler = scheduler_of(tokens_ahead_max=2)
    sequence = a_generation(max_tokens=ENDLESS)
    scheduler.add(sequence)
    while scheduler.schedule() is not None:
        one_step(scheduler)
    assert scheduler.idle
    assert sequence.generated == 2
    read_all(sequence)
    assert not scheduler.idle


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("steps", range(6))
def test_a_cancelled_sequence_takes_part_in_no_later_step(samples: int, steps: int) -> None:
    scheduler = scheduler_of(size_max=2, tokens_ahead_max=3, prefill_length_max=2, prefill_tokens_max=2)
    sequence, other = a_generation(4, samples=samples), a_generation(4)
    scheduler.add(sequence)
    scheduler.add(other)
    for _ in range(steps):
        one_step(scheduler)
    scheduler.remove(sequence)
    scheduler.remove(sequence)  # twice is harmless
    generated = [member.generated for member in sequence.family]
    while scheduler.schedule() is not None:
        step = one_step(scheduler)
        members = step.sequences if isinstance(step, DecodeStep) else [member for member, _ in step.rows]
        assert not set(members) & set(sequence.family)
        read_all(other)
        if other.generated > 20:
            scheduler.remove(other)
    assert [member.generated for member in sequence.family] == generated
    assert (len(scheduler.waiting), scheduler.prefilling, scheduler.decoding, scheduler.paused) == (0, [], [], [])


def test_clearing_gives_back_everybody() -> None:
    scheduler = scheduler_of(size_max=2, tokens_ahead_max=2)
    sequences = [a_generation(100) for _ in range(4)]
    for sequence in sequences:
        scheduler.add(sequence)
    for _ in range(4):
        one_step(scheduler)
    assert set(scheduler.clear()) == set(sequences)
    assert scheduler.schedule() is None
