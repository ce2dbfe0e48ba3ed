from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.decoding.tagging import Chain, LabelChoices, chain_of, choose_labels
from seqserve.v1 import manifest_pb2

SCORES = st.lists(st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4), min_size=1, max_size=20)


@given(rows=SCORES, top=st.integers(0, 6))
def test_each_step_gets_its_likeliest_label_and_honest_probabilities(rows: list[list[float]], top: int) -> None:
    scores = np.array(rows, np.float32)
    (choices,) = choose_labels([scores], top)
    for row, label, score, likeliest in zip(rows, choices.labels, choices.scores, choices.top, strict=True):
        expected = np.exp(np.array(row) - max(row))
        expected /= expected.sum()
        assert label == row.index(max(row))
        assert score == pytest.approx(expected[label])
        assert [each for _, each in likeliest] == pytest.approx(sorted(expected, reverse=True)[:top])
        assert [each for _, each in likeliest] == pytest.approx([expected[other] for other, _ in likeliest])


@given(rows=SCORES, top=st.integers(0, 6), copies=st.integers(1, 40))
def test_a_step_gets_the_same_bits_whoever_is_labelled_beside_it(
    rows: list[list[float]], top: int, copies: int
) -> None:
    scores = np.array(rows, np.float32)
    (together,) = choose_labels([np.concatenate([scores] * copies)], top)
    alone = LabelChoices([], [], [])
    for step in scores:
        alone.extend(choose_labels([step[None]], top)[0])
    assert together == LabelChoices(alone.labels * copies, alone.scores * copies, alone.top * copies)


@pytest.mark.parametrize("steps", [1, 100])
@pytest.mark.parametrize("top", [0, 3])
def test_the_lower_label_wins_a_tie(steps: int, top: int) -> None:
    (choices,) = choose_labels([np.array([[0.0, 2.0, 2.0, 1.0]] * steps, np.float32)], top)
    assert choices.labels == [1] * steps
    assert [label for label, _ in choices.top[-1]] == [1, 2, 3][:top]


@pytest.mark.parametrize("top", [0, 1])
def test_scores_far_apart_do_not_overflow(top: int) -> None:
    (choices,) = choose_labels([np.array([[-1e30, 3e38, 0.0]], np.float32)], top)
    assert (choices.labels, choices.scores, choices.top) == ([1], [1.0], [[(1, 1.0)][:top]])


def test_no_steps_give_no_labels() -> None:
    nothing = np.empty((0, 3), np.float32)
    assert choose_labels([nothing, nothing], 1) == [LabelChoices([], [], [])] * 2
    assert choose_labels([]) == []


SIZES = st.tuples(st.integers(1, 5), st.integers(2, 4))


@given(sizes=SIZES, seed=st.integers(0, 2**31), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_a_chain_is_decoded_as_if_every_row_of_labels_were_looked_at(
    sizes: tuple[int, int], seed: int, scale: float
) -> None:
    steps, labels = sizes
    generator = np.random.default_rng(seed)
    chain = Chain(generator.normal(size=labels), generator.normal(size=(labels, labels)), generator.normal(size=labels))
    scores = (generator.normal(size=(steps, labels)) * scale).astype(np.float32)
    rows = list(product(range(labels), repeat=steps))
    totals = np.array([row_score(scores, row, chain) for row in rows])
    weights = np.exp(totals - totals.max())
    expected = np.zeros((steps, labels))
    for row, weight in zip(rows, weights / weights.sum(), strict=True):
        expected[range(steps), row] += weight
    (choices,) = choose_labels([scores], labels, chain)
    assert row_score(scores, tuple(choices.labels), chain) == pytest.approx(totals.max())
    for step, (label, score) in enumerate(zip(choices.labels, choices.scores, strict=True)):
        assert score == pytest.approx(expected[step, label], abs=1e-9)
        assert [each for _, each in choices.top[step]] == pytest.approx(sorted(expected[step], reverse=True), abs=1e-9)


@given(lengths=st.lists(st.integers(0, 7), max_size=6), seed=st.integers(0, 2**31), with_chain=st.booleans())
def test_texts_together_get_what_each_gets_alone(lengths: list[int], seed: int, *, with_chain: bool) -> None:
    generator = np.random.default_rng(seed)
    chain = Chain(generator.normal(size=4), generator.normal(size=(4, 4)), generator.normal(size=4))
    texts = [generator.normal(size=(length, 4)).astype(np.float32) for length in lengths]
    together = choose_labels(texts, 2, chain if with_chain else None)
    assert together == [choose_labels([text], 2, chain if with_chain else None)[0] for text in texts]
    assert [len(choices.labels) for choices in together] == lengths


def row_score(scores: np.ndarray, row: tuple[int, ...], chain: Chain) -> float:
    total = (
        chain.start_L[row[0]] + chain.end_L[row[-1]] + sum(float(scores[step, label]) for step, label in enumerate(row))
    )
    return float(total + sum(chain.transitions_LL[pair] for pair in pairwise(row)))


def test_the_chain_of_a_manifest_is_read_row_by_row() -> None:
    labels = manifest_pb2.Labels(names=["A", "B"], transitions=[1, 2, 3, 4], start_scores=[5, 6], end_scores=[7, 8])
    chain = chain_of(labels)
    assert chain is not None
    assert chain.transitions_LL.tolist() == [[1, 2], [3, 4]]  # from A: to A, to B
    assert (chain.start_L.tolist(), chain.end_L.tolist()) == ([5, 6], [7, 8])
    assert chain_of(manifest_pb2.Labels(names=["A", "B"])) is None
