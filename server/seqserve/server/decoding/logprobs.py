"""Log-probabilities of tokens under the model itself: temperature 1, no filters.

Axes: T steps, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqserve.server.model.state import FloatArray

IndexArray = npt.NDArray[np.intp]

_SORTED_MAX = 512  # below this size of the vocabulary, sorting all tokens is faster than searching
_SUMMED_AT = 1024  # terms of a sum before they are reduced to a few


class Candidate(NamedTuple):
    """A token and its log-probability.

    Attributes:
        token: The token's ID.
        logprob: Its natural log-probability, in nats.
        rank: Its rank; the most likely token has 1.
    """

    token: int
    logprob: float
    rank: int


class StepReport(NamedTuple):
    """The log-probabilities of one step.

    Attributes:
        chosen: The step's token.
        top: The most likely tokens of the step, best first.
    """

    chosen: Candidate
    top: tuple[Candidate, ...]


def log_softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Computes log-probabilities over the last axis, in float64. The bits of a row depend on that row alone."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    sums = np.cumsum(np.exp(scores), axis=-1)  # in order, so that a row's sum does not depend on the shape
    logprobs: npt.NDArray[np.float64] = scores - np.log(sums[..., -1:])
    return logprobs


def reports(logits_TV: FloatArray, tokens: Sequence[int], top: int) -> list[StepReport]:
    """Computes the log-probability of each step's token.

    Args:
        logits_TV: The model's outputs.
        tokens: The token of each step.
        top: How many of the most likely tokens to report at each step; ties go to the lower ID.

    Returns:
        One report per step.
    """
    scores_TV = log_softmax(logits_TV)
    chosen_T = scores_TV[np.arange(len(tokens)), np.asarray(tokens, np.intp)]
    ranks_T = (scores_TV > chosen_T[:, None]).sum(axis=1) + 1
    chosen = map(Candidate, tokens, chosen_T.tolist(), ranks_T.tolist())
    if not top:
        return [StepReport(candidate, ()) for candidate in chosen]
    best_TK = likeliest(scores_TV, top)
    logprobs_TK = np.take_along_axis(scores_TV, best_TK, axis=1)
    return [
        StepReport(candidate, tuple(map(Candidate, best, logprobs, count(1))))
        for candidate, best, logprobs in zip(chosen, best_TK.tolist(), logprobs_TK.tolist(), strict=True)
    ]


def likeliest(scores_TV: npt.NDArray[np.float64], top: int) -> npt.NDArray[np.intp]:
    """Returns the IDs of each row's highest scores: intp (T, min(top, V)), best first; ties go to the lower ID."""
    if (size := scores_TV.shape[1]) < _SORTED_MAX:
        return np.argsort(-scores_TV, axis=1, kind="stable")[:, :top]
    least_T = np.partition(scores_TV, size - top, axis=1)[:, size - top]
    best_TK = np.empty((len(scores_TV), top), np.intp)
    for row, (scores_V, least) in enumerate(zip(scores_TV, least_T, strict=True)):
        high = np.flatnonzero(scores_V >= least)
        best_TK[row] = high[np.argsort(-scores_V[high], kind="stable")[:top]]
    return best_TK


def unusable_rows(scores_NV: FloatArray) -> IndexArray:
    """Returns the rows that have no finite highest score: NaN or infinity, or nothing but minus infinity.

    Args:
        scores_NV: float32, as the model gave them.

    Returns:
        Their indexes, ascending.
    """
    return np.flatnonzero(~np.isfinite(scores_NV.max(axis=-1)))


def perplexity(logprob: float, tokens: int) -> float:
    """Returns the perplexity of a text: infinity where it is too large for a float, 1 for a text without scored tokens.

    Args:
        logprob: Sum of the log-probabilities of its scored tokens, in nats.
        tokens: Number of scored tokens.
    """
    try:
        return math.exp(-logprob / tokens) if tokens else 1.0
    except OverflowError:
        return math.inf


class ExactSum:
    """The exact sum of terms that arrive over time, rounded once: math.fsum over all terms.

    When many terms have gathered they are reduced to a few with the same sum: the rounded sum, the rounded remainder,
    and so on until nothing remains.
    """

    def __init__(self) -> None:
        self._terms: list[float] = []

    @property
    def value(self) -> float:
        """The sum so far."""
        return math.fsum(self._terms)

    def add(self, terms: Sequence[float]) -> None:
        """Adds terms."""
        self._terms += terms
        if len(self._terms) >= _SUMMED_AT:
            left, self._terms = self._terms, []
            while part := math.fsum(left):
                self._terms.append(part)
                if not math.isfinite(part):  # the remainder is undefined, and further terms change nothing
                    break
                left.append(-part)
