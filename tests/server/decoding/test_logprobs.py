from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.decoding.logprobs import Candidate, ExactSum, log_softmax, perplexity, reports, unusable_rows

ROWS = st.lists(
    st.lists(st.one_of(st.sampled_from([-1.0, 0.0, 2.0]), st.floats(-80, 80, width=32)), min_size=7, max_size=7),
    min_size=1,
    max_size=5,
)


@given(ROWS)
def test_log_probabilities_are_those_of_the_softmax(logits: list[list[float]]) -> None:
    found = log_softmax(np.array(logits, np.float32))
    for row, scores in zip(found.tolist(), logits, strict=True):
        highest = max(scores)
        total = math.log(math.fsum(math.exp(score - highest) for score in scores))
        np.testing.assert_allclose(row, [score - highest - total for score in scores], rtol=1e-13, atol=1e-13)


@given(ROWS, st.integers(0, 7))
def test_a_step_is_reported_the_same_to_the_bit_alone_and_among_others(logits: list[list[float]], top: int) -> None:
    logits_TV = np.array(logits, np.float32)
    tokens = [step % 7 for step in range(len(logits))]
    together = reports(logits_TV, tokens, top)
    assert together == [
        reports(logits_TV[step : step + 1], tokens[step : step + 1], top)[0] for step in range(len(logits))
    ]


def test_many_words_do_not_change_that() -> None:
    logits_TV = np.random.default_rng(0).standard_normal((70, 5003)).astype(np.float32)
    together = reports(logits_TV, [5] * 70, 3)
    assert together == [reports(logits_TV[step : step + 1], [5], 3)[0] for step in range(70)]


@given(ROWS, st.integers(0, 6), st.integers(0, 10))
def test_ranks_and_the_likeliest_are_those_of_a_sorted_list(logits: list[list[float]], token: int, top: int) -> None:
    found = reports(np.array(logits, np.float32), [token] * len(logits), top)
    for report, scores in zip(found, np.array(logits, np.float32), strict=True):
        logprobs = log_softmax(scores[None])[0].tolist()
        order = sorted(range(7), key=lambda index: (-logprobs[index], index))
        assert report.top == tuple(
            Candidate(index, logprobs[index], place) for place, index in enumerate(order[:top], 1)
        )
        assert report.chosen == Candidate(token, logprobs[token], 1 + sum(p > logprobs[token] for p in logprobs))


@pytest.mark.parametrize("size", [511, 512, 3000])
@pytest.mark.parametrize("levels", [1, 2, 5, 100_000])
def test_the_likeliest_of_many_words_are_found_with_their_ties(size: int, levels: int) -> None:
    logits_TV = np.random.default_rng(size).integers(0, levels, (4, size)).astype(np.float32)
    for report, scores in zip(reports(logits_TV, [0] * 4, 20), logits_TV.tolist(), strict=True):
        order = sorted(range(size), key=lambda index: (-scores[index], index))
        assert [candidate.token for candidate in report.top] == order[:20]


def test_a_token_as_likely_as_the_likeliest_has_rank_one() -> None:
    (report,) = reports(np.array([[1.0, 3.0, 3.0]], np.float32), [2], 2)
    assert report.chosen.rank == 1
    assert [candidate.token for candidate in report.top] == [1, 2]


@pytest.mark.parametrize("size", [4, 4000])
def test_no_steps_are_no_reports(size: int) -> None:
    assert reports(np.zeros((0, size), np.float32), [], 3) == []


@given(st.lists(st.lists(st.floats(-1e9, 0, allow_subnormal=False), max_size=20), max_size=20), st.integers(1, 50))
def test_a_sum_that_comes_in_parts_is_that_of_the_whole_to_the_bit(parts: list[list[float]], times: int) -> None:
    total = ExactSum()
    for _ in range(times):
        for part in parts:
            total.add(part)
    assert total.value == math.fsum(term for part in parts * times for term in part)
    assert len(total._terms) < 1024


@pytest.mark.parametrize("term", [math.inf, math.nan])
def test_a_sum_with_a_term_that_is_no_number_ends(term: float) -> None:
    total = ExactSum()
    for _ in range(3):
        total.add([-1.0] * 1000 + [-term])
    assert not math.isfinite(total.value)


def test_the_perplexity_of_a_text_may_be_infinite() -> None:
    assert perplexity(-2 * math.log(10), 2) == pytest.approx(10)
    assert perplexity(0.0, 0) == 1
    assert perplexity(-1e30, 1) == perplexity(-math.inf, 3) == math.inf


def test_a_row_is_unusable_if_its_highest_score_is_not_finite() -> None:
    scores_NV = np.zeros((5, 3), np.float32)
    scores_NV[0, 1] = -np.inf  # a token that the model rules out
    scores_NV[1, 2], scores_NV[2, 0], scores_NV[4] = np.nan, np.inf, -np.inf
    assert unusable_rows(scores_NV).tolist() == [1, 2, 4]
