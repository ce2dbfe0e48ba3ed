"""Logits to tokens, for all sequences of a step at once. The one place where sampling is defined.

The order is that of SamplingParams in the contract: temperature, top_k, top_p, min_p; then the surviving probabilities,
in order of token id and in float64, are summed until the sum exceeds u times the total. Each row's token depends on
its own logits, settings and u alone, to the last bit.

Axes: B sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqserve.server.state import FloatArray

DoubleArray = npt.NDArray[np.float64]
IdArray = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SamplingSpec:
    """How one sequence's tokens are drawn; validated, nothing absent.

    temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 keep all tokens. logprobs: how many likeliest tokens to report
    besides the chosen one, None for no report at all.
    """

    seed: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    logprobs: int | None = None


class Sampler:
    """Draws one token for each sequence of a batch; built anew when the batch's members change."""

    def __init__(self, specs: Sequence[SamplingSpec]) -> None:
        """Args: specs: one a row."""
        temperature_B = np.array([spec.temperature for spec in specs])
        self._greedy_B = temperature_B == 0
        self._all_greedy = bool(self._greedy_B.all())
        self._any_greedy = bool(self._greedy_B.any())
        self._divisor_B1 = np.where(self._greedy_B, 1.0, temperature_B)[:, None]
        self._divides = bool((self._divisor_B1 != 1.0).any())
        self._top_k = [(row, spec.top_k) for row, spec in enumerate(specs) if spec.top_k]
        self._top_p = [(row, spec.top_p) for row, spec in enumerate(specs) if spec.top_p < 1]
        self._min_p = [(row, spec.min_p) for row, spec in enumerate(specs) if spec.min_p > 0]

    def draw(self, logits_BV: FloatArray, u_B: DoubleArray) -> IdArray:
        """Draw a token for each row.

        Args:
            logits_BV: float32, as the model gave them; left as they are.
            u_B: float64 in [0, 1), one a row; not read where a row is greedy.
        Returns: Token ids (B,).
        """
        if self._all_greedy:
            return _likeliest(logits_BV)
        scores_BV = logits_BV.astype(np.float64)
        if self._divides:
            scores_BV /= self._divisor_B1
        for row, k in self._top_k:
            _keep_top_k(scores_BV[row], k)
        weights_BV = np.exp(scores_BV - scores_BV.max(axis=1, keepdims=True))
        for row, p in self._top_p:
            _keep_top_p(weights_BV[row], p)
        for row, p in self._min_p:
            weights = weights_BV[row]
            weights[weights < p * weights.max()] = 0
        sums_BV = np.cumsum(weights_BV, axis=1)
        threshold_B1 = (u_B * sums_BV[:, -1])[:, None]
        tokens_B: IdArray = (sums_BV <= threshold_B1).sum(axis=1)  # the first whose sum exceeds the threshold
        if self._any_greedy:
            tokens_B = np.where(self._greedy_B, _likeliest(logits_BV), tokens_B)
        return tokens_B


def _likeliest(logits_BV: FloatArray) -> IdArray:
    tokens_B: IdArray = logits_BV.argmax(axis=1)  # the lowest id of several
    return tokens_B


def _keep_top_k(scores_V: DoubleArray, k: int) -> None:
    """Set all scores below the k-th largest to minus infinity, in place."""
    if k < len(scores_V):
        scores_V[scores_V < np.partition(scores_V, -k)[-k]] = -np.inf


def _keep_top_p(weights_V: DoubleArray, p: float) -> None:
    """Set all weights to 0 but the fewest largest that add up to p of the total, in place; ties: the lower id stays."""
    order = np.argsort(-weights_V, kind="stable")
    sums = np.cumsum(weights_V[order])
    kept = int(np.searchsorted(sums, p * sums[-1], side="left")) + 1
    weights_V[order[kept:]] = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token, its natural log-probability in nats, and its rank (the likeliest has 1)."""

    token: int
    logprob: float
    rank: int


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step's token, and the likeliest ones there, best first."""

    chosen: Candidate
    top: tuple[Candidate, ...]


def report(logits_V: FloatArray, token: int, top: int) -> StepReport:
    """How likely the model itself (temperature 1, no filters) found a token, and the ``top`` likeliest.

    Args:
        logits_V: float32 (V,).
        token: The token that was chosen.
        top: How many of the likeliest to tell; ties go to the lower id.
    """
    scores = logits_V.astype(np.float64)
    scores -= scores.max()
    scores -= np.log(np.exp(scores).sum())
    rank = int((scores > scores[token]).sum()) + 1
    best = np.argsort(-scores, kind="stable")[:top]
    return StepReport(
        Candidate(token, float(scores[token]), rank),
        tuple(Candidate(int(index), float(scores[index]), place) for place, index in enumerate(best, 1)),
    )
