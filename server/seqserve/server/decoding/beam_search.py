"""Beam search over the forks of one sequence. Pure: scores in, choices out; whoever runs the steps moves the states.

Each step keeps the ``width`` likeliest continuations of all beams. A continuation that ends leaves the beams for the
list of results. The search ends when ``width`` results are there, or at the limit of tokens.

Axes: R beams running now (1 at the start, then ``width``), V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text that the search found: its tokens, the sum of their log-probabilities in nats, and what ended it."""

    tokens: tuple[int, ...]
    logprob: float
    end_token: int | None

    def score(self, length_penalty: float) -> float:
        """Sum of log-probabilities over length ** length_penalty (Wu et al. 2016, without the constants)."""
        return float(self.logprob / len(self.tokens) ** length_penalty)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which beams go on: for each its parent's row and the token it is fed next."""

    parents: list[int]
    tokens: list[int]


class BeamSearch:
    """One search in progress."""

    def __init__(self, width: int, max_tokens: int, ends: frozenset[int], length_penalty: float) -> None:
        """Args: width: beams, at least 2, at most half the vocabulary; ends: tokens that end a text."""
        self.width = width
        self._max_tokens = max_tokens
        self._ends = ends
        self._length_penalty = length_penalty
        self._running = [Hypothesis((), 0.0, None)]
        self._results: list[Hypothesis] = []

    def advance(self, logprobs_RV: npt.NDArray[np.float64]) -> Choice | None:
        """Take one step; None when the search is over.

        Args:
            logprobs_RV: log-probabilities after each running beam, float64. Ties go to the lower row, then token.
        """
        sums_RV = logprobs_RV + np.array([beam.logprob for beam in self._running])[:, None]
        best = np.argsort(-sums_RV, axis=None, kind="stable")[: self.width + len(self._ends) * len(self._running)]
        chosen = Choice([], [])
        running: list[Hypothesis] = []
        for rank, flat in enumerate(best):
            row, token = divmod(int(flat), logprobs_RV.shape[1])
            ended = token in self._ends
            grown = Hypothesis(
                (*self._running[row].tokens, token), float(sums_RV[row, token]), token if ended else None
            )
            if ended:
                if rank < self.width:  # one that would not have stayed a beam is no result either
                    self._results.append(grown)
            elif len(running) < self.width:
                running.append(grown)
                chosen.parents.append(row)
                chosen.tokens.append(token)
        self._running = running
        if len(self._results) >= self.width or len(running[0].tokens) >= self._max_tokens:
            return None
        return chosen

    def results(self, count: int) -> list[Hypothesis]:
        """The best texts, best first: those that ended, and those that the limit cut off."""
        found = [*self._results, *self._running]
        return sorted(found, key=lambda hypothesis: -hypothesis.score(self._length_penalty))[:count]
