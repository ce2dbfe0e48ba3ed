"""How likely the model itself (temperature 1, no filters) finds tokens. Axes: T steps, V vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqserve.server.model.state import FloatArray

_SORTED_MAX = 512  # tokens of a vocabulary that are sorted sooner than searched
_SUMMED_AT = 1024  # terms of a sum that gather before they become few


class Candidate(NamedTuple):
    """A token, its natural log-probability in nats, and its rank (the likeliest has 1)."""

    token: int
    logprob: float
    rank: int


class StepReport(NamedTuple):
    """One step's token, and the likeliest ones there, best first."""

    chosen: Candidate
    top: tuple[Candidate, ...]


def log_softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Log-probabilities over the last axis, in float64; each row by itself, to the last bit."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    sums = np.cumsum(np.exp(scores), axis=-1)  # in order, so that a row's sum does not depend on the shape
    logprobs: npt.NDArray[np.float64] = scores - np.log(sums[..., -1:])
    return logprobs


def reports(logits_TV: FloatArray, tokens: Sequence[int], top: int) -> list[StepReport]:
    """How likely each step's token was, and the ``top`` likeliest ones there; ties go to the lower id."""
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
    """The ``top`` highest of each row, highest first, of equals the lower id: intp (T, top), fewer if V is less."""
    if (size := scores_TV.shape[1]) < _SORTED_MAX:
        return np.argsort(-scores_TV, axis=1, kind="stable")[:, :top]
    least_T = np.partition(scores_TV, size - top, axis=1)[:, size - top]
    best_TK = np.empty((len(scores_TV), top), np.intp)
    for row, (scores_V, least) in enumerate(zip(scores_TV, least_T, strict=True)):
        found = np.flatnonzero(scores_V >= least)
        best_TK[row] = found[np.argsort(-scores_V[found], kind="stable")[:top]]
    return best_TK


class ExactSum:
    """A sum that comes over time, rounded once: math.fsum over all terms, whatever their number.

    When many have gathered they become a few whose sum is the same: its rounded value, the rounded value of what that
    leaves, and so on until nothing is left.
    """

    def __init__(self) -> None:
        self._terms: list[float] = []

    @property
    def value(self) -> float:
        """The sum so far."""
        return math.fsum(self._terms)

    def add(self, terms: Sequence[float]) -> None:
        """Add terms."""
        self._terms += terms
        if len(self._terms) >= _SUMMED_AT:
            left, self._terms = self._terms, []
            while part := math.fsum(left):
                self._terms.append(part)
                if not math.isfinite(part):  # nothing can be taken from it, and nothing added changes it
                    break
                left.append(-part)
