from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.decoding.randomness import Uniforms, draw_seed

SEEDS = st.integers(0, 2**64 - 1)


def numpys(seed: int, sample: int, count: int) -> list[float]:
    """The stream as the contract names it."""
    key = np.array([seed, sample], dtype=np.uint64)
    numbers: list[float] = np.random.Generator(np.random.Philox(key=key)).random(count).tolist()
    return numbers


@given(seed=SEEDS, sample=st.integers(0, 63), positions=st.lists(st.integers(0, 299), min_size=1, max_size=20))
def test_the_numbers_are_those_of_numpy_in_whatever_order_they_are_asked_for(
    seed: int, sample: int, positions: list[int]
) -> None:
    numbers, expected = Uniforms(seed, sample), numpys(seed, sample, 300)
    assert [numbers.run(position, 1)[0] for position in positions] == [expected[position] for position in positions]


@pytest.mark.parametrize("position", [0, 1, 3, 4, 63, 64, 65, 127, 128, 100_003])
def test_no_position_is_skipped_at_the_edge_of_a_block(position: int) -> None:
    assert Uniforms(7).run(position, 1)[0] == numpys(7, 0, position + 1)[position]


def test_every_seed_and_sample_has_numbers_of_its_own() -> None:
    keys = [(0, 0), (0, 1), (1, 0), (2**64 - 1, 0), (2**32, 0)]
    assert len({float(Uniforms(seed, sample).run(0, 1)[0]) for seed, sample in keys}) == len(keys)


def test_a_drawn_seed_fits_the_signed_integers_of_every_language() -> None:
    seeds = {draw_seed() for _ in range(100)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
