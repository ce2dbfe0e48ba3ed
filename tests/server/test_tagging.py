from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.tagging import choose_labels

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
