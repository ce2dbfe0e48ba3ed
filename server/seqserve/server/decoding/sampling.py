"""Logits to tokens, for all sequences of a step at once. The one place where sampling is defined.

The order of SamplingParams in the contract: penalties, bias, allowed and banned tokens; temperature, top_k, top_p,
min_p. Then the remaining probabilities, in order of token ID and in float64, are summed until the sum exceeds u times
the total. The token of a row depends on its own logits, settings, history and u alone, to the last bit.

Axes: B sequences of the batch, R rows of it that need something, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seqserve.server.model.sequence_state import TokenCounts
from seqserve.server.model.state import FloatArray

DoubleArray = npt.NDArray[np.float64]
IdArray = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SamplingSpec:
    """How one sequence's tokens are drawn. Validated; names and meanings as in SamplingParams.

    Attributes:
        seed: Key of the random numbers.
        temperature: Divisor of the logits; 0: greedy.
        top_k: Number of most likely tokens that are kept; 0: all.
        top_p: Share of probability of the most likely tokens that are kept; 1: all.
        min_p: Minimum probability of a token, relative to the most likely one; 0: all are kept.
        repetition_penalty: Penalty of tokens that occurred; 1: none.
        presence_penalty: Penalty of tokens that were generated; 0: none.
        frequency_penalty: Penalty of tokens per time they were generated; 0: none.
        logit_bias: Values that are added to the logits of tokens.
        allowed: The only tokens that may be drawn; empty: all.
        banned: Tokens that are never drawn.
        logprobs: How many of the most likely tokens to report besides the drawn one; None: no report.
    """

    seed: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    allowed: frozenset[int] = frozenset()
    banned: frozenset[int] = frozenset()
    logprobs: int | None = None

    @property
    def penalises(self) -> bool:
        """Whether the tokens so far matter."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0


class History:
    """What one sequence's sampling depends on besides the logits: earlier tokens, and bias.

    Attributes:
        generated_V: How often each token was generated, float64 (V,); empty without penalties.
        seen_V: Whether each token occurred, bool (V,); empty without penalties.
        bias_V: Values that are added to the logits at every step, float64 (V,); None: none.
    """

    def __init__(self, spec: SamplingSpec, vocabulary: int, prompt: npt.NDArray[np.int32], counts: TokenCounts) -> None:
        """Makes the history of a sequence after its prompt.

        Args:
            spec: How tokens are drawn.
            vocabulary: Size of the vocabulary.
            prompt: Token IDs, int32 (T,).
            counts: Counts of the tokens before the prompt.
        """
        self.generated_V = np.zeros(vocabulary if spec.penalises else 0, np.float64)
        self.seen_V = np.zeros(vocabulary if spec.penalises else 0, np.bool_)
        if spec.penalises:
            self.seen_V[prompt] = self.seen_V[counts.ids] = True
            self.generated_V[counts.ids] = counts.generated
        self.bias_V = _bias(spec, vocabulary)

    def copy(self) -> History:
        """Copies the history for a fork."""
        twin = object.__new__(History)
        twin.generated_V, twin.seen_V, twin.bias_V = self.generated_V.copy(), self.seen_V.copy(), self.bias_V
        return twin

    def add(self, token: int) -> None:
        """Adds a generated token."""
        if len(self.seen_V):
            self.generated_V[token] += 1
            self.seen_V[token] = True


def _bias(spec: SamplingSpec, vocabulary: int) -> DoubleArray | None:
    """Returns the values that are added to the logits at every step, float64 (V,); None: none."""
    if not (spec.logit_bias or spec.allowed or spec.banned):
        return None
    bias_V = np.full(vocabulary, -np.inf if spec.allowed else 0.0)
    bias_V[list(spec.allowed)] = 0.0
    for token, value in spec.logit_bias.items():
        bias_V[token] += value
    bias_V[list(spec.banned)] = -np.inf
    return bias_V


class Sampler:
    """Draws one token for each sequence of a batch. A change of the members needs a new sampler."""

    def __init__(self, specs: Sequence[SamplingSpec], histories: Sequence[History]) -> None:
        """Makes a sampler.

        Args:
            specs: How the tokens of each row are drawn.
            histories: The history of each row, which its owner keeps up to date: each draw reads it.
        """
        self._histories = histories
        temperature_B = np.array([spec.temperature for spec in specs])
        self._rows = np.arange(len(specs))
        self._greedy_B = temperature_B == 0
        self._all_greedy = bool(self._greedy_B.all())
        self._any_greedy = bool(self._greedy_B.any())
        self._divisor_B1 = np.where(self._greedy_B, 1.0, temperature_B)[:, None]
        self._divides = bool((self._divisor_B1 != 1.0).any())
        self._top_k = [(row, spec.top_k) for row, spec in enumerate(specs) if spec.top_k]
        self._top_p = [(row, spec.top_p) for row, spec in enumerate(specs) if spec.top_p < 1]
        self._min_p_B1 = np.array([spec.min_p for spec in specs])[:, None]
        self._any_min_p = bool((self._min_p_B1 > 0).any())
        self._biased = [row for row, history in enumerate(histories) if history.bias_V is not None]
        self._bias_RV = np.array([histories[row].bias_V for row in self._biased])
        self._penalised = [row for row, spec in enumerate(specs) if spec.penalises]
        chosen = [specs[row] for row in self._penalised]
        self._repetition_R1 = np.array([spec.repetition_penalty for spec in chosen])[:, None]
        self._presence_R1 = np.array([spec.presence_penalty for spec in chosen])[:, None]
        self._frequency_R1 = np.array([spec.frequency_penalty for spec in chosen])[:, None]

    def draw(self, logits_BV: FloatArray, u_B: DoubleArray, barred: Sequence[tuple[int, IdArray]] = ()) -> IdArray:
        """Draws a token for each row.

        Args:
            logits_BV: float32, as the model gave them. Not changed.
            u_B: float64 in [0, 1), one a row. Not read for greedy rows.
            barred: Rows and token IDs (K,) that may not be drawn at this step.

        Returns:
            Token IDs (B,); -1 for rows from which no token can be drawn, because a score is NaN or infinite, or all are
            minus infinity. Other rows are not affected.
        """
        adjusts = bool(self._penalised or self._biased or barred)
        if self._all_greedy and not adjusts:
            return self._check(_likeliest(logits_BV), logits_BV)
        scores_BV = logits_BV.astype(np.float64)
        if adjusts:
            self._adjust(scores_BV, barred)
        if self._all_greedy:
            return self._check(_likeliest(scores_BV), scores_BV)
        greedy_B = _likeliest(scores_BV) if self._any_greedy else None
        if self._divides:
            scores_BV /= self._divisor_B1
        for row, k in self._top_k:
            _keep_top_k(scores_BV[row], k)
        top_B1 = scores_BV.max(axis=1, keepdims=True)  # NaN if one of the row's scores is
        finite_B1 = np.isfinite(top_B1)
        if not (all_finite := finite_B1.all()):
            scores_BV = np.where(finite_B1, scores_BV, 0.0)  # so that what follows is defined; the token is replaced
            top_B1 = np.where(finite_B1, top_B1, 0.0)
        scores_BV -= top_B1
        weights_BV = np.exp(scores_BV, out=scores_BV)
        for row, p in self._top_p:
            _keep_top_p(weights_BV[row], p)
        if self._any_min_p:
            weights_BV[weights_BV < self._min_p_B1 * weights_BV.max(axis=1, keepdims=True)] = 0
        sums_BV = np.cumsum(weights_BV, axis=1)
        threshold_B1 = (u_B * sums_BV[:, -1])[:, None]
        tokens_B: IdArray = (sums_BV <= threshold_B1).sum(axis=1)  # the first whose sum exceeds the threshold
        if greedy_B is not None:
            tokens_B = np.where(self._greedy_B, greedy_B, tokens_B)
        return tokens_B if all_finite else np.where(finite_B1[:, 0], tokens_B, -1)

    def _check(self, tokens_B: IdArray, scores_BV: FloatArray | DoubleArray) -> IdArray:
        """Replaces the tokens of rows whose highest score is not finite by -1. The argmax of a row with NaN is NaN."""
        finite_B = np.isfinite(scores_BV[self._rows, tokens_B])
        return tokens_B if finite_B.all() else np.where(finite_B, tokens_B, -1)

    def _adjust(self, scores_BV: DoubleArray, barred: Sequence[tuple[int, IdArray]]) -> None:
        """Applies penalties (Keskar et al., "CTRL", 2019, section 4.1, and OpenAI's), bias and bars, in place."""
        if self._penalised:
            seen_RV = np.array([self._histories[row].seen_V for row in self._penalised])
            generated_RV = np.array([self._histories[row].generated_V for row in self._penalised])
            scores_RV = scores_BV[self._penalised]
            repeated_RV = np.where(scores_RV > 0, scores_RV / self._repetition_R1, scores_RV * self._repetition_R1)
            scores_RV = np.where(seen_RV, repeated_RV, scores_RV)
            scores_RV -= self._frequency_R1 * generated_RV
            scores_RV -= self._presence_R1 * (generated_RV > 0)
            scores_BV[self._penalised] = scores_RV
        if self._biased:
            scores_BV[self._biased] += self._bias_RV
        for row, tokens in barred:
            scores_BV[row, tokens] = -np.inf


def _likeliest(scores_BV: FloatArray | DoubleArray) -> IdArray:
    tokens_B: IdArray = scores_BV.argmax(axis=1)  # the lowest id of several
    return tokens_B


def _keep_top_k(scores_V: DoubleArray, k: int) -> None:
    """Sets all scores below the k-th largest to minus infinity, in place."""
    if k < len(scores_V):
        scores_V[scores_V < np.partition(scores_V, -k)[-k]] = -np.inf


def _keep_top_p(weights_V: DoubleArray, p: float) -> None:
    """Keeps the fewest largest weights that add up to p of the total, sets others to 0. Ties: the lower ID is kept."""
    order: IdArray = np.argsort(-weights_V, kind="stable")
    sums: DoubleArray = np.cumsum(weights_V[order])
    kept = 1 + int((sums < p * sums[-1]).sum())
    weights_V[order[kept:]] = 0
