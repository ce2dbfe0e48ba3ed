from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.tagging import Chain, chain_of, choose_labels
from seqserve.v1 import manifest_pb2

SCORES = st.lists(st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4), min_size=1, max_size=5)


@given(rows=SCORES, top=st.integers(0, 6))
def test_each_step_gets_its_likeliest_label_and_honest_probabilities(rows: list[list[float]], top: int) -> None:
    scores = np.array(rows, np.float32)
    for row, choice in zip(rows, choose_labels(scores, top), strict=True):
        expected = np.exp(np.array(row) - max(row))
        expected /= expected.sum()
        assert choice.label == row.index(max(row))
        assert choice.score == pytest.approx(expected[choice.label])
        assert [score for _, score in choice.top] == pytest.approx(sorted(expected, reverse=True)[:top])
        assert [score for _, score in choice.top] == pytest.approx([expected[label] for label, _ in choice.top])


def test_the_lower_label_wins_a_tie() -> None:
    (choice,) = choose_labels(np.array([[0.0, 2.0, 2.0, 1.0]], np.float32), 3)
    assert choice.label == 1
    assert [label for label, _ in choice.top] == [1, 2, 3]


def test_scores_far_apart_do_not_overflow() -> None:
    (choice,) = choose_labels(np.array([[-1e30, 3e38, 0.0]], np.float32), 1)
    assert (choice.label, choice.score, choice.top) == (1, 1.0, ((1, 1.0),))


def test_no_steps_give_no_labels() -> None:
    assert choose_labels(np.empty((0, 3), np.float32), 1) == []


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
    choices = choose_labels(scores, labels, chain)
    path = tuple(choice.label for choice in choices)
    assert row_score(scores, path, chain) == pytest.approx(totals.max())
    for step, choice in enumerate(choices):
        assert choice.score == pytest.approx(expected[step, choice.label], abs=1e-9)
        assert [score for _, score in choice.top] == pytest.approx(sorted(expected[step], reverse=True), abs=1e-9)


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
