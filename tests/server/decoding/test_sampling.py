from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seqserve.server.decoding.sampling import History, Sampler, SamplingSpec
from seqserve.server.model.sequence_state import TokenCounts
from seqserve.server.model.state import FloatArray
from tests.server.engine.reference import draw

V = 9
TOKENS = st.integers(0, V - 1)
SETS = st.frozensets(TOKENS, max_size=V - 2)
# Few values, so that many tokens are equally likely; and any.
LOGITS = st.lists(
    st.one_of(st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0]), st.floats(-30, 30, width=32)), min_size=V, max_size=V
)


@st.composite
def specs(draw_one: st.DrawFn) -> SamplingSpec:
    usual: Any = st.just
    allowed = draw_one(st.one_of(usual(frozenset()), st.frozensets(TOKENS, min_size=2)))
    banned = draw_one(st.one_of(usual(frozenset()), st.frozensets(TOKENS, max_size=3)))
    if not (allowed or frozenset(range(V))) - banned - {0}:
        banned = frozenset()
    return SamplingSpec(
        seed=0,
        temperature=draw_one(st.sampled_from([0.0, 1.0, 0.5, 0.9, 1.7, 100.0, 0.01])),
        top_k=draw_one(st.sampled_from([0, 0, 1, 2, 5, V, 50])),
        top_p=draw_one(st.one_of(usual(1.0), st.floats(0.01, 1.0))),
        min_p=draw_one(st.one_of(usual(0.0), st.floats(0.0, 1.0))),
        repetition_penalty=draw_one(st.one_of(usual(1.0), st.floats(0.1, 10))),
        presence_penalty=draw_one(st.one_of(usual(0.0), st.floats(-2, 2))),
        frequency_penalty=draw_one(st.one_of(usual(0.0), st.floats(-2, 2))),
        logit_bias=draw_one(st.dictionaries(TOKENS, st.floats(-100, 100), max_size=3)),
        allowed=allowed,
        banned=banned,
    )


@st.composite
def rows_(draw_one: st.DrawFn) -> dict[str, Any]:
    return {
        "logits": draw_one(LOGITS),
        "spec": draw_one(specs()),
        "u": draw_one(st.one_of(st.sampled_from([0.0, 1 - 2**-53]), st.floats(0, 1, exclude_max=True))),
        "prompt": draw_one(st.lists(TOKENS, min_size=1, max_size=5)),
        "generated": draw_one(st.lists(TOKENS, max_size=5)),
        "barred": draw_one(st.sampled_from([frozenset(), frozenset(), frozenset({0})])),
    }


def history_of(spec: SamplingSpec, prompt: list[int], generated: list[int], vocabulary: int = V) -> History:
    history = History(spec, vocabulary, np.array(prompt, np.int32), TokenCounts())
    for token in generated:
        history.add(token)
    return history


def drawn(batch: list[dict[str, Any]]) -> list[int]:
    sampler = Sampler(
        [row["spec"] for row in batch], [history_of(row["spec"], row["prompt"], row["generated"]) for row in batch]
    )
    logits_BV: FloatArray = np.array([row["logits"] for row in batch], np.float32)
    before = logits_BV.copy()
    barred = [(index, np.array(sorted(row["barred"]), np.intp)) for index, row in enumerate(batch) if row["barred"]]
    tokens: list[int] = sampler.draw(logits_BV, np.array([row["u"] for row in batch]), barred).tolist()
    np.testing.assert_array_equal(logits_BV, before)
    return tokens


def by_the_contract(row: dict[str, Any]) -> int:
    logits = np.array(row["logits"], np.float32).tolist()
    return draw(logits, row["spec"], row["u"], row["prompt"], row["generated"], row["barred"])


@settings(max_examples=200, deadline=None)
@given(st.lists(rows_(), min_size=1, max_size=6))
def test_each_row_is_drawn_as_the_contract_says(batch: list[dict[str, Any]]) -> None:
    assert drawn(batch) == [by_the_contract(row) for row in batch]


@settings(max_examples=100, deadline=None)
@given(st.lists(rows_(), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_its_neighbours(batch: list[dict[str, Any]], random: Any) -> None:
    together = drawn(batch)
    assert together == [drawn([row])[0] for row in batch]
    order = list(range(len(batch)))
    random.shuffle(order)
    assert drawn([batch[index] for index in order]) == [together[index] for index in order]


def test_a_row_is_the_same_to_the_bit_in_batches_of_any_size_and_with_many_words() -> None:
    """The sums are taken in order of token id: a row's threshold does not depend on the shape of the batch."""
    random = np.random.default_rng(0)
    vocabulary, count = 1003, 129
    logits_BV = (3 * random.standard_normal((count, vocabulary))).astype(np.float32)
    u_B = random.random(count)
    kinds: list[dict[str, Any]] = [{}, {"temperature": 0.7}, {"top_p": 0.9}, {"min_p": 0.02, "top_k": 40}]
    specs_B = [SamplingSpec(0, **kinds[row % 4]) for row in range(count)]
    histories = [history_of(spec, [0], [], vocabulary) for spec in specs_B]
    together = Sampler(specs_B, histories).draw(logits_BV, u_B)
    for row in range(count):
        alone = Sampler(specs_B[row : row + 1], histories[row : row + 1])
        assert alone.draw(logits_BV[row : row + 1], u_B[row : row + 1])[0] == together[row]
        if row % 6 == 0:
            assert draw(logits_BV[row].tolist(), specs_B[row], float(u_B[row]), [0], []) == together[row]


def one(logits: list[float], u: float = 0.5, barred: frozenset[int] = frozenset(), **spec: Any) -> int:
    """A draw from few words."""
    settled = SamplingSpec(0, **spec)
    sampler = Sampler([settled], [history_of(settled, [], [], len(logits))])
    bars = [(0, np.array(sorted(barred), np.intp))] if barred else []
    return int(sampler.draw(np.array([logits], np.float32), np.array([u]), bars)[0])


def possible(logits: list[float], **spec: Any) -> set[int]:
    """Which tokens come, over a fine grid of u."""
    return {one(logits, u, **spec) for u in np.linspace(0, 1, 401)[:-1]}


def test_greedy_takes_the_lowest_of_the_likeliest() -> None:
    assert one([0, 3, 1, 3], temperature=0.0) == 1
    assert one([0, 3, 1, 3], temperature=0.0, banned=frozenset({1})) == 3
    assert one([0, 3, 1, 3], temperature=0.0, barred=frozenset({1, 3})) == 2


def test_u_of_zero_is_the_first_possible_token_and_u_near_one_the_last() -> None:
    assert one([0, 1, 2], 0.0) == 0
    assert one([0, 1, 2], 0.0, banned=frozenset({0})) == 1
    assert one([2, 1, 0], 1 - 2**-53) == 2
    assert one([2, 1, 0], 1 - 2**-53, banned=frozenset({2})) == 1


def test_top_k_keeps_those_as_likely_as_the_kth() -> None:
    assert possible([1, 0, 1, 0, 1], top_k=2) == {0, 2, 4}
    assert possible([3, 0, 2, 1, 1], top_k=3) == {0, 2, 3, 4}
    assert possible([3, 0, 2, 1, 1], top_k=1) == {0}
    assert possible([3, 0, 2, 1, 1], top_k=99) == {0, 1, 2, 3, 4}


def test_top_p_keeps_the_fewest_that_add_up() -> None:
    halves = [float(np.log(p)) for p in (0.5, 0.25, 0.125, 0.125)]
    assert possible(halves, top_p=0.4) == {0}
    assert possible(halves, top_p=0.6) == {0, 1}
    assert possible(halves, top_p=0.8) == {0, 1, 2}  # of equals the lower id
    assert possible([0, 0, 0, 0], top_p=0.5) == {0, 1}
    assert possible([0, 5, 0, 0], top_p=1e-9) == {1}  # never none


def test_min_p_is_relative_to_the_likeliest() -> None:
    halves = [float(np.log(p)) for p in (0.5, 0.25, 0.13, 0.12)]
    assert possible(halves, min_p=0.255) == {0, 1, 2}
    assert possible(halves, min_p=1.0) == {0}


def test_penalties_count_the_prompt_only_where_they_should() -> None:
    logits: FloatArray = np.array([[2.0, 1.9, -1.0, -1.1]], np.float32)

    def greedy(prompt: list[int], generated: list[int], **penalties: Any) -> int:
        spec = SamplingSpec(0, temperature=0.0, **penalties)
        return int(Sampler([spec], [history_of(spec, prompt, generated, 4)]).draw(logits, np.zeros(1))[0])

    assert greedy([0], [], repetition_penalty=1.2) == 1  # the prompt counts
    assert greedy([0], [], presence_penalty=1.0) == 0  # here it does not
    assert greedy([0], [], frequency_penalty=1.0) == 0
    assert greedy([], [0], presence_penalty=0.2) == 1
    assert greedy([], [0, 1, 1], frequency_penalty=0.15) == 0
    assert greedy([], [0, 1], repetition_penalty=1.2) == 0  # both are less likely by the same factor


def test_a_fork_does_not_see_what_the_other_generates() -> None:
    spec = SamplingSpec(0, repetition_penalty=2.0)
    first = history_of(spec, [1], [2])
    twin = first.copy()
    twin.add(3)
    assert not first.seen_V[3]
    assert first.generated_V[3] == 0
    assert twin.seen_V[[1, 2, 3]].all()


def test_tokens_come_as_often_as_they_are_likely() -> None:
    """Chi-squared with 9 degrees of freedom is below 33.7 in all but 1 of 10,000 cases; the seed is fixed."""
    random = np.random.default_rng(3)
    logits: FloatArray = random.standard_normal(10).astype(np.float32)
    count, temperature = 40_000, 0.8
    spec = SamplingSpec(0, temperature=temperature)
    sampler = Sampler([spec] * count, [history_of(spec, [], [], 10)] * count)
    tokens = sampler.draw(np.tile(logits, (count, 1)), random.random(count))
    weights = np.exp(logits.astype(np.float64) / temperature)
    expected = count * weights / weights.sum()
    chi_squared = float(((np.bincount(tokens, minlength=10) - expected) ** 2 / expected).sum())
    assert chi_squared < 33.7


@given(u=st.floats(0, 1, exclude_max=True))
def test_what_is_not_allowed_never_comes(u: float) -> None:
    logits = [50.0, -50.0, 50.0, -60.0]
    assert one(logits, u, allowed=frozenset({1, 3}), logit_bias={0: 100.0}) in {1, 3}
    assert one(logits, u, banned=frozenset({0, 2}), logit_bias={0: 100.0}) in {1, 3}
