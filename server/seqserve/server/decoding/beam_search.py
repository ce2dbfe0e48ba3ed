"""Beam search over the forks of one sequence. Pure: scores in, choices out; the runner moves the states.

Each step keeps the ``width`` most likely continuations of all beams. A continuation that ends leaves the beams for the
list of results. The search ends when there are ``width`` results, or at the maximum number of tokens.

Axes: R beams running now (1 at the start, then ``width``), V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text that the search found.

    Attributes:
        tokens: Its tokens.
        logprob: Sum of their log-probabilities, in nats.
        end_token: The token that ended it; None: the maximum number of tokens.
    """

    tokens: tuple[int, ...]
    logprob: float
    end_token: int | None

    def score(self, length_penalty: float) -> float:
        """Returns logprob / length ** length_penalty (Wu et al. 2016, without the constants)."""
        return float(self.logprob / len(self.tokens) ** length_penalty)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which beams continue.

    Attributes:
        parents: The row that each beam continues.
        tokens: The token that each beam is fed next.
    """

    parents: list[int]
    tokens: list[int]


class BeamSearch:
    """One search in progress."""

    def __init__(self, width: int, max_tokens: int, ends: frozenset[int], length_penalty: float) -> None:
        """Begins a search.

        Args:
            width: Number of beams, at least 2 and at most half the vocabulary.
            max_tokens: Maximum number of tokens of a text.
            ends: Tokens that end a text.
            length_penalty: Exponent of the length in `Hypothesis.score`.
        """
        self.width = width
        self._max_tokens = max_tokens
        self._ends = ends
        self._length_penalty = length_penalty
        self._running = [Hypothesis((), 0.0, None)]
        self._results: list[Hypothesis] = []

    def advance(self, logprobs_RV: npt.NDArray[np.float64]) -> Choice | None:
        """Takes one step.

        Args:
            logprobs_RV: Log-probabilities after each running beam, float64. Ties go to the lower row, then token.

        Returns:
            Which beams continue; None when the search has ended.
        """
        sums_RV = logprobs_RV + np.array([beam.logprob for beam in self._running])[:, None]
        best = np.argsort(-sums_RV, axis=None, kind="stable")[: self.width + len(self._ends) * len(self._running)]
        chosen = Choice([], [])
        running: list[Hypothesis] = []
        for rank, flat in enumerate(best):
            row, token = divmod(int(flat), logprobs_RV.shape[1])
            ended = token in self._ends
            continued = Hypothesis(
                (*self._running[row].tokens, token), float(sums_RV[row, token]), token if ended else None
            )
            if ended:
                if rank < self.width:  # one that would not have been kept as a beam is no result either
                    self._results.append(continued)
            elif len(running) < self.width:
                running.append(continued)
                chosen.parents.append(row)
                chosen.tokens.append(token)
        self._running = running
        if len(self._results) >= self.width or len(running[0].tokens) >= self._max_tokens:
            return None
        return chosen

    def results(self, count: int) -> list[Hypothesis]:
        """Returns the best texts, best first: those that ended, and those cut off by the maximum number of tokens."""
        hypotheses = [*self._results, *self._running]
        return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score(self._length_penalty))[:count]
