from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.engine.prefix_cache import PrefixCache
from seqserve.server.model.inputs import Array
from seqserve.server.model.state import State

PROMPTS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def ids(tokens: list[int] | range) -> Array:
    return np.array(tokens, np.int32)


def a_state(value: int, units: int = 25) -> State:
    """100 bytes by default."""
    return (np.full((1, 1, units), value, np.float32),)


def remember(cache: PrefixCache, tokens: list[int], length: int, state: State) -> None:
    cache.keep(cache.keys(ids(tokens)), length, state)


def look_up(cache: PrefixCache, tokens: list[int]) -> tuple[int, State]:
    return cache.find(cache.keys(ids(tokens)), len(tokens))


def test_the_longest_known_prefix_is_found() -> None:
    cache = PrefixCache(10_000, block=2)
    prompt = [1, 2, 3, 4, 5, 6, 7]
    for length in (2, 4):
        remember(cache, prompt, length, a_state(length))
    length, state = look_up(cache, prompt)
    assert length == 4
    assert state[0][0, 0, 0] == 4
    assert look_up(cache, [1, 2, 3, 9, 9])[0] == 2
    assert look_up(cache, [1, 9, 3, 4, 5]) == (0, ())
    assert (cache.hits, cache.misses, cache.hit_tokens) == (2, 1, 6)


def test_at_least_one_token_is_left_to_read() -> None:
    cache = PrefixCache(10_000, block=2)
    prompt = [1, 2, 3, 4]
    remember(cache, prompt, 4, a_state(4))
    assert look_up(cache, prompt) == (0, ())
    assert look_up(cache, [*prompt, 5])[0] == 4
    remember(cache, prompt, 2, a_state(2))
    assert look_up(cache, prompt)[0] == 2


def test_only_whole_blocks_are_kept() -> None:
    cache = PrefixCache(10_000, block=4)
    for length in (1, 3, 5, 7):
        remember(cache, [1] * 8, length, a_state(0))
    assert look_up(cache, [1] * 9) == (0, ())


def test_a_prompt_shorter_than_a_block_is_neither_hit_nor_miss() -> None:
    cache = PrefixCache(10_000, block=4)
    assert look_up(cache, [1, 2, 3, 4]) == (0, ())
    assert (cache.hits, cache.misses) == (0, 0)
    assert look_up(cache, [1, 2, 3, 4, 5]) == (0, ())
    assert (cache.hits, cache.misses) == (0, 1)


def test_with_no_bytes_nothing_is_kept_and_nothing_counted() -> None:
    cache = PrefixCache(0, block=1)
    remember(cache, [1, 2, 3], 1, a_state(1))
    assert look_up(cache, [1, 2, 3]) == (0, ())
    assert (cache.hits, cache.misses) == (0, 0)


def test_the_least_recently_used_state_goes_first() -> None:
    cache = PrefixCache(300, block=1)
    for token in range(3):
        remember(cache, [token, 9], 1, a_state(token))
    assert look_up(cache, [0, 9])[0] == 1  # used
    remember(cache, [3, 9], 1, a_state(3))
    assert [look_up(cache, [token, 9])[0] for token in range(4)] == [1, 0, 1, 1]


def test_a_state_that_alone_is_over_the_limit_is_not_kept_and_drives_nobody_out() -> None:
    cache = PrefixCache(150, block=1)
    remember(cache, [0, 9], 1, a_state(0))
    remember(cache, [1, 9], 1, a_state(1, units=50))
    assert look_up(cache, [0, 9])[0] == 1
    assert look_up(cache, [1, 9])[0] == 0


@pytest.mark.parametrize("tokens", [[0, 1], [1, 0], [256, 0], [0, 256], [1], [65536, 0], [-1, 0]])
def test_no_two_prompts_share_a_key(tokens: list[int]) -> None:
    others = [[0, 0], [0, 0, 0], [1, 1], [2**24, 0], [0], [0, 1, 0]]
    cache = PrefixCache(1, block=1)
    key = cache.keys(ids(tokens))[-1]
    assert key not in [cache.keys(ids(other))[-1] for other in others]


def test_the_same_block_at_another_place_is_another_prefix() -> None:
    cache = PrefixCache(10_000, block=2)
    remember(cache, [1, 2, 3, 4], 4, a_state(1))
    assert look_up(cache, [3, 4, 1]) == (0, ())
    assert look_up(cache, [3, 4, 3, 4, 1]) == (0, ())


@given(
    block=st.integers(1, 4),
    room=st.integers(1, 5),
    operations=st.lists(st.tuples(st.booleans(), PROMPTS, st.integers(1, 12)), max_size=40),
)
def test_it_does_what_a_naive_cache_does(block: int, room: int, operations: list[tuple[bool, list[int], int]]) -> None:
    """A naive one: a dictionary by the tokens themselves, in order of last use."""
    cache = PrefixCache(100 * room, block)
    naive: OrderedDict[tuple[int, ...], int] = OrderedDict()
    for number, (keeps, prompt, length) in enumerate(operations):
        if keeps:
            length = min(length, len(prompt))
            remember(cache, prompt, length, a_state(number))
            if length % block == 0 and tuple(prompt[:length]) not in naive:
                naive[tuple(prompt[:length])] = number
                if len(naive) > room:
                    naive.popitem(last=False)
        else:
            lengths = [n for n in range(1, len(prompt)) if tuple(prompt[:n]) in naive]
            best = max(lengths, default=0)
            length, state = look_up(cache, prompt)
            assert length == best
            if best:
                assert state[0][0, 0, 0] == naive[tuple(prompt[:best])]
                naive.move_to_end(tuple(prompt[:best]))
        assert cache._bytes == 100 * len(naive) == sum(state[0].nbytes for state in cache._states.values())


def test_the_work_for_a_long_prompt_is_bounded_and_does_not_evict_all_others() -> None:
    cache = PrefixCache(1 << 30, block=2)
    prompt = list(range(10_000))
    keys = cache.keys(ids(prompt))
    assert len(keys) == 1024
    for length in range(2, 10_001, 2):
        cache.keep(keys, length, a_state(length))
    assert cache.find(keys, len(prompt))[0] == 2048
    assert len(cache._states) == 1024
    assert look_up(cache, prompt[:1000])[0] == 998  # leaves a token to consume
