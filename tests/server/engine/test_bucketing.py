"""Which inputs share a run: the oldest always does, padding is bounded, and like goes with like."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.engine.bucketing import choose_batch

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(lengths=LENGTHS, steps_max=st.integers(1, 300), rows_max=st.integers(1, 20))
def test_a_run_has_the_oldest_and_keeps_its_limits(lengths: list[int], steps_max: int, rows_max: int) -> None:
    places = choose_batch(lengths, steps_max, rows_max)
    chosen = [lengths[place] for place in places]
    assert 0 in places
    assert len(set(places)) == len(places) <= rows_max
    assert len(places) == 1 or max(chosen) * len(chosen) <= steps_max
    assert 2 * min(chosen) >= max(chosen)


@given(length=st.integers(1, 30), count=st.integers(1, 30))
def test_inputs_of_one_length_run_together_as_far_as_they_fit(length: int, count: int) -> None:
    assert len(choose_batch([length] * count, 10 * length, 8)) == min(count, 8)


def test_a_row_that_costs_more_than_it_gives_is_left_for_another_run() -> None:
    assert sorted(choose_batch([10, 10, 10, 10, 6], 1000, 100)) == [0, 1, 2, 3, 4]
    assert sorted(choose_batch([20] * 30 + [11], 1000, 100)) == list(range(30))


def test_the_oldest_goes_with_longer_ones_where_these_are_many() -> None:
    assert sorted(choose_batch([9, *[10] * 20, 5, 5], 1000, 100)) == list(range(21))
    assert sorted(choose_batch([9, *[30] * 20, 8, 8], 1000, 100)) == [0, 21, 22]


def test_little_of_many_short_inputs_is_padding() -> None:
    generator = random.Random(0)
    waiting = [1 + int(generator.expovariate(1 / 12)) for _ in range(2000)]
    steps, padded = sum(waiting), 0
    pool: list[int] = []
    while waiting or pool:
        pool += [waiting.pop() for _ in range(min(256 - len(pool), len(waiting)))]
        places = choose_batch(pool, 512, 128)
        padded += len(places) * max(pool[place] for place in places)
        pool = [length for place, length in enumerate(pool) if place not in places]
    assert padded / steps < 1.15
