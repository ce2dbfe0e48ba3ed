"""Labels that are decided as scores come: those of Viterbi, as soon as nothing can change them."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.decoding.online_viterbi import OnlineViterbi
from seqserve.server.decoding.tagging import Chain, LabelChoices, choose_labels

FORBIDDEN = -10_000.0


@st.composite
def problems(draw: st.DrawFn, steps_max: int = 12) -> tuple[np.ndarray, Chain]:
    """Scores and a chain; of whole numbers, which tie often, or of any; some transitions are forbidden."""
    labels, steps = draw(st.integers(2, 4)), draw(st.integers(1, steps_max))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    whole = draw(st.booleans())

    def scores(*shape: int) -> np.ndarray:
        values = numbers.normal(size=shape) * 2
        return values.round() if whole else values

    transitions = scores(labels, labels)
    if draw(st.booleans()):
        forbidden = numbers.random((labels, labels)) < 0.3
        transitions[forbidden & ~np.eye(labels, dtype=bool)] = FORBIDDEN
    return scores(steps, labels).astype(np.float32), Chain(scores(labels), transitions, scores(labels))


def decided(online: OnlineViterbi, scores_TL: np.ndarray, cuts: list[int]) -> LabelChoices:
    found = LabelChoices([], [], [])
    for start, end in itertools.pairwise(sorted({0, len(scores_TL), *(cut % len(scores_TL) for cut in cuts)})):
        found.extend(online.push(scores_TL[start:end]))
    found.extend(online.end())
    return found


@given(problems(steps_max=40), st.lists(st.integers(0, 100), max_size=6))
def test_without_a_lag_labels_are_those_of_viterbi(problem: tuple[np.ndarray, Chain], cuts: list[int]) -> None:
    scores_TL, chain = problem
    online = OnlineViterbi(chain)
    (expected,) = choose_labels([scores_TL], chain=chain)
    assert decided(online, scores_TL, cuts).labels == expected.labels
    assert decided(online, scores_TL, []).labels == expected.labels, "the next sentence starts from the beginning"


@given(problems(), st.none() | st.integers(0, 4), st.lists(st.integers(0, 100), max_size=6))
def test_what_is_told_does_not_depend_on_the_cuts(
    problem: tuple[np.ndarray, Chain], lag_max: int | None, cuts: list[int]
) -> None:
    scores_TL, chain = problem
    assert decided(OnlineViterbi(chain, lag_max, 2), scores_TL, cuts) == decided(
        OnlineViterbi(chain, lag_max, 2), scores_TL, []
    )


@given(problems(), st.integers(0, 4))
def test_no_label_waits_longer_than_it_may_and_rows_stay_possible(
    problem: tuple[np.ndarray, Chain], lag_max: int
) -> None:
    scores_TL, chain = problem
    online, row = OnlineViterbi(chain, lag_max), list[int]()
    for count, scores_L in enumerate(scores_TL, 1):
        row += online.push(scores_L[np.newaxis]).labels
        assert len(row) + len(online) == count
        assert len(online) <= lag_max
    row += online.end().labels
    if (np.diagonal(chain.transitions_LL) > FORBIDDEN).all():  # a path never needs a forbidden transition
        assert all(chain.transitions_LL[pair] > FORBIDDEN for pair in itertools.pairwise(row))


@given(problems(steps_max=8))
def test_a_label_is_decided_as_soon_as_the_best_rows_agree_on_it(problem: tuple[np.ndarray, Chain]) -> None:
    scores_TL, chain = problem
    online, count = OnlineViterbi(chain), 0
    going_on = Chain(chain.start_L, chain.transitions_LL, np.zeros_like(chain.end_L))
    for step in range(1, len(scores_TL) + 1):
        count += len(online.push(scores_TL[step - 1 : step]))
        rows: list[list[int]] = []
        for last in range(len(chain.start_L)):  # the best row that ends with each label
            forced = scores_TL[:step].copy()
            forced[-1, last] += 1e6
            rows.append(choose_labels([forced], chain=going_on)[0].labels)
        agreed = [len(set(labels)) == 1 for labels in zip(*rows, strict=True)]
        assert agreed == [True] * count + [False] * (step - count)


@given(problems(steps_max=5), st.none() | st.integers(0, 2))
def test_scores_are_the_probabilities_given_what_was_seen(
    problem: tuple[np.ndarray, Chain], lag_max: int | None
) -> None:
    scores_TL, chain = problem
    labels = len(chain.start_L)
    online, found, place = OnlineViterbi(chain, lag_max, labels), list[tuple[int, int, LabelChoices]](), 0
    for step in range(len(scores_TL)):
        reported = online.push(scores_TL[step : step + 1])
        found.append((place, step + 1, reported))
        place += len(reported)
    nothing = np.empty((0, labels), np.float32)
    found.append((place, len(scores_TL), guessed := online.provisional(nothing)))
    before = OnlineViterbi(chain, lag_max, labels)
    already = sum(len(before.push(scores_TL[step : step + 1])) for step in range(len(scores_TL) - 1))
    if already == place:  # a look ahead says the same, and decides nothing
        assert before.provisional(scores_TL[-1:]) == guessed
        assert len(before) == len(scores_TL) - 1 - place
    for first, seen, reported in found:
        weights = row_weights(scores_TL[:seen], chain, np.zeros(labels))
        for index in range(len(reported)):
            for label, score in reported.top[index]:
                expected = sum(weight for row, weight in weights.items() if row[first + index] == label)
                assert score == pytest.approx(expected, abs=1e-9)
            assert (reported.labels[index], reported.scores[index]) in reported.top[index]
    weights = row_weights(scores_TL, chain, chain.end_L)
    for index, (label, score) in enumerate(zip((rest := online.end()).labels, rest.scores, strict=True), place):
        assert score == pytest.approx(sum(weight for row, weight in weights.items() if row[index] == label), abs=1e-9)


@given(problems(), st.none() | st.integers(0, 4))
def test_a_guess_changes_nothing(problem: tuple[np.ndarray, Chain], lag_max: int | None) -> None:
    scores_TL, chain = problem
    guessing, other = OnlineViterbi(chain, lag_max), OnlineViterbi(chain, lag_max)
    for step in range(len(scores_TL)):
        guessing.provisional(scores_TL[step:])
        assert guessing.push(scores_TL[step : step + 1]) == other.push(scores_TL[step : step + 1])
    assert guessing.end() == other.end()


def test_a_guess_copies_no_chain() -> None:
    labels = 400
    chain = Chain(np.zeros(labels), np.zeros((labels, labels)), np.zeros(labels))
    online = OnlineViterbi(chain)
    online.push(np.zeros((1, labels), np.float32))
    tracemalloc.start()
    try:
        online.provisional(np.empty((0, labels), np.float32))
        assert tracemalloc.get_traced_memory()[1] < chain.transitions_LL.nbytes / 4
    finally:
        tracemalloc.stop()


def row_weights(scores_TL: np.ndarray, chain: Chain, end_L: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of each row of labels, by looking at all of them."""
    steps, labels = scores_TL.shape
    totals = {
        row: chain.start_L[row[0]]
        + end_L[row[-1]]
        + sum(float(scores_TL[step, label]) for step, label in enumerate(row))
        + sum(chain.transitions_LL[pair] for pair in itertools.pairwise(row))
        for row in itertools.product(range(labels), repeat=steps)
    }
    greatest = max(totals.values())
    weights = {row: float(np.exp(total - greatest)) for row, total in totals.items()}
    whole = sum(weights.values())
    return {row: weight / whole for row, weight in weights.items()}


def test_a_sentence_that_goes_on_follows_its_last_label() -> None:
    never = np.array([[0.0, FORBIDDEN], [FORBIDDEN, 0.0]])
    chain = Chain(np.zeros(2), never, np.array([0.0, 100.0]))
    first = OnlineViterbi(chain)
    assert first.push(np.array([[3, 0]], np.float32)).labels == []
    assert first.end(sentence=False).labels == [0]
    assert first.last_label == 0
    on = OnlineViterbi(chain, last_label=first.last_label)
    on.push(np.array([[0, 50]], np.float32))
    assert on.end().labels == [0], "only label 0 may follow it"
    assert on.last_label is None


def test_what_is_decided_is_not_held() -> None:
    numbers = np.random.default_rng(0)
    chain = Chain(*(numbers.normal(size=shape) for shape in ((5,), (5, 5), (5,))))
    online, worst = OnlineViterbi(chain), 0
    for _ in range(2000):
        online.push(numbers.normal(size=(1, 5)).astype(np.float32) * 3)
        worst = max(worst, len(online))
    assert worst < 40


def test_the_least_lag_is_none() -> None:
    chain = Chain(np.zeros(2), np.zeros((2, 2)), np.zeros(2))
    assert OnlineViterbi(chain, 0).push(np.array([[0, 1], [1, 1]], np.float32)).labels == [1, 0]
