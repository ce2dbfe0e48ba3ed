from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.model.state import State, join, rows

SHAPES = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 4)), max_size=3)


def a_state(shapes: list[tuple[int, int]], sequences: int, seed: int) -> State:
    random = np.random.default_rng(seed)
    return tuple(random.random((directions, sequences, units)).astype(np.float32) for directions, units in shapes)


def same(first: State, second: State) -> bool:
    return len(first) == len(second) and all(
        one.shape == other.shape and one.tobytes() == other.tobytes() for one, other in zip(first, second, strict=True)
    )


@given(shapes=SHAPES, counts=st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_what_was_joined_is_found_again_in_its_rows(shapes: list[tuple[int, int]], counts: list[int]) -> None:
    states = [a_state(shapes, count, seed) for seed, count in enumerate(counts)]
    batch = join(states)
    start = 0
    for state, count in zip(states, counts, strict=True):
        assert same(rows(batch, range(start, start + count)), state)
        start += count


@given(shapes=SHAPES, data=st.data())
def test_rows_that_were_taken_apart_join_to_the_batch_again(shapes: list[tuple[int, int]], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    batch = a_state(shapes, count, 0)
    order = data.draw(st.permutations(range(count)))
    cut = data.draw(st.integers(1, count))
    parts = [rows(batch, part) for part in (order[:cut], order[cut:]) if part]
    back = np.argsort(order).tolist()
    assert same(rows(join(parts), back), batch)


def test_rows_are_copies() -> None:
    batch = a_state([(1, 3)], 4, 0)
    before = batch[0].copy()
    taken = rows(batch, [2])
    taken[0][:] = 9
    np.testing.assert_array_equal(batch[0], before)


def test_a_join_of_several_is_a_copy() -> None:
    first, second = a_state([(1, 3)], 1, 0), a_state([(1, 3)], 1, 1)
    before = first[0].copy()
    join([first, second])[0][:] = 9
    np.testing.assert_array_equal(first[0], before)


def test_a_model_without_state_joins_to_none() -> None:
    assert join([(), (), ()]) == ()
    assert rows((), [0, 1]) == ()


@pytest.mark.parametrize("shapes", [[(1, 4)], [(2, 3)], [(1, 3), (1, 3)]])
def test_states_of_another_model_do_not_join(shapes: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"dimension|shorter|longer"):
        join([a_state([(1, 3)], 1, 0), a_state(shapes, 1, 0)])


def test_a_join_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        join([])


def test_a_row_that_is_not_there_is_refused() -> None:
    with pytest.raises(IndexError):
        rows(a_state([(1, 3)], 2, 0), [2])
