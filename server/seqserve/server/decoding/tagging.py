"""Labels from label scores: the most likely label of each step, or the best path where the model has a CRF.

Several texts are decoded at once, step by step.

Axes: B texts, T steps of one, P steps of all, L labels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqserve.server.model.manifest import Labels
from seqserve.server.model.state import FloatArray

DoubleArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]


@dataclass(slots=True)
class LabelChoices:
    """The labels of a text's steps.

    Attributes:
        labels: The label of each step, by index.
        scores: Its probability.
        top: The most likely labels of each step with their probabilities, best first.
    """

    labels: list[int]
    scores: list[float]
    top: list[list[tuple[int, float]]]

    def __len__(self) -> int:
        return len(self.labels)

    def extend(self, more: LabelChoices) -> None:
        """Adds the choices of further steps."""
        self.labels.extend(more.labels)
        self.scores.extend(more.scores)
        self.top.extend(more.top)

    def cut(self, start: int, end: int) -> LabelChoices:
        """Returns the choices of the steps in [start, end)."""
        return LabelChoices(self.labels[start:end], self.scores[start:end], self.top[start:end])


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """What a linear-chain CRF adds to the scores of a path of labels, in float64.

    Attributes:
        start_L: Score of each label at the first step.
        transitions_LL: Score of each pair of a label (from) and the next one (to).
        end_L: Score of each label at the last step.
    """

    start_L: DoubleArray
    transitions_LL: DoubleArray
    end_L: DoubleArray


def chain_of(labels: Labels) -> Chain | None:
    """Returns the CRF of a manifest; None if it has none."""
    if not labels.transitions:
        return None
    count = len(labels.names)
    start_L, transitions, end_L = (
        np.array(values, np.float64) for values in (labels.start_scores, labels.transitions, labels.end_scores)
    )
    return Chain(start_L, transitions.reshape(count, count), end_L)


def choose_labels(texts: Sequence[FloatArray], top: int = 0, chain: Chain | None = None) -> list[LabelChoices]:
    """Labels several texts, one label per step.

    Without a chain the label of a step is its most likely one (softmax). With a chain it is that of the best path, and
    probabilities are marginal: over all paths with the label at that step. So a label in ``top`` may be more likely
    than the chosen one.

    Args:
        texts: Scores before softmax or CRF, float32 (T, L) each; T may be 0.
        top: How many of the most likely labels to report; ties go to the lower index.
        chain: The model's CRF.
    """
    lengths = [len(scores_TL) for scores_TL in texts]
    if not any(lengths):
        return [LabelChoices([], [], []) for _ in texts]
    scores_PL = np.concatenate(texts) if len(texts) > 1 else texts[0]
    chosen = labels_alone(scores_PL, top) if chain is None else _best_paths(scores_PL, lengths, top, chain)
    ends = list(itertools.accumulate(lengths))
    return [chosen.cut(end - length, end) for length, end in zip(lengths, ends, strict=True)]


def labels_alone(scores_PL: FloatArray, top: int) -> LabelChoices:
    """Returns each step's most likely label. The bits of a step depend on that step alone."""
    wide_PL = scores_PL.astype(np.float64)
    weights_PL = np.exp(wide_PL - wide_PL.max(axis=1, keepdims=True))
    sums_P = np.cumsum(weights_PL, axis=1)[:, -1]  # in order, so that a step's sum does not depend on the shape
    best_P = wide_PL.argmax(axis=1)
    if top:
        return make_choices(best_P, weights_PL / sums_P[:, np.newaxis], top)
    return LabelChoices(best_P.tolist(), (1 / sums_P).tolist(), [[] for _ in best_P])  # the greatest weight is 1


def _best_paths(scores_PL: FloatArray, lengths: Sequence[int], top: int, chain: Chain) -> LabelChoices:
    """Returns the labels of the best path of each text."""
    wide_PL = scores_PL.astype(np.float64)
    index_P, steps = by_step(lengths)
    probabilities_PL, best_P = np.empty_like(wide_PL), np.empty(len(wide_PL), np.intp)
    probabilities_PL[index_P] = marginals(wide_PL[index_P], steps, chain)
    best_P[index_P] = viterbi(wide_PL[index_P], steps, chain)
    return make_choices(best_P, probabilities_PL, top)


def make_choices(labels_P: IndexArray, probabilities_PL: DoubleArray, top: int) -> LabelChoices:
    """Returns labels with their probabilities, and the most likely ones of each step; ties go to the lower index."""
    scores: list[float] = probabilities_PL[np.arange(len(labels_P)), labels_P].tolist()
    if not top:
        return LabelChoices(labels_P.tolist(), scores, [[] for _ in scores])
    order_PK = np.argsort(-probabilities_PL, axis=1, kind="stable")[:, :top]
    top_scores: list[list[float]] = np.take_along_axis(probabilities_PL, order_PK, axis=1).tolist()
    likeliest = [list(zip(*each, strict=True)) for each in zip(order_PK.tolist(), top_scores, strict=True)]
    return LabelChoices(labels_P.tolist(), scores, likeliest)


def by_step(lengths: Sequence[int]) -> tuple[IndexArray, list[slice]]:
    """Reorders the concatenated steps of several texts so that the same step of all texts is contiguous.

    Args:
        lengths: Lengths of the texts.

    Returns:
        Where each step comes from, (P): the first steps of all texts, longest text first, then their second ones, and
        so on; and for each step its slice of these. Texts that have ended are missing at the end of later slices.
    """
    lengths_B = np.asarray(lengths)
    starts_B = np.cumsum(lengths_B) - lengths_B
    order_B = np.argsort(-lengths_B, kind="stable")
    counts = [int((lengths_B > step).sum()) for step in range(int(lengths_B.max()))]
    index_P = np.concatenate([starts_B[order_B[:count]] + step for step, count in enumerate(counts)])
    ends = list(itertools.accumulate(counts))
    return index_P, [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]


def viterbi(scores_PL: DoubleArray, steps: Sequence[slice], chain: Chain) -> IndexArray:
    """Returns the best path of each text; ties go to the lower label (Rabiner 1989, III.B).

    Args:
        scores_PL: Scores of several texts, as `by_step` orders them.
        steps: The slice of each step.
        chain: The model's CRF.

    Returns:
        The label of each step, (P), in the same order.
    """
    best_BL = chain.start_L + scores_PL[steps[0]]
    origins_PL = np.zeros(scores_PL.shape, np.intp)
    for now in steps[1:]:
        ways_BLL = best_BL[: _count(now), :, np.newaxis] + chain.transitions_LL
        origins_PL[now] = ways_BLL.argmax(axis=1)
        best_BL[: _count(now)] = ways_BLL.max(axis=1) + scores_PL[now]
    path_P = np.empty(len(scores_PL), np.intp)
    label_B = (best_BL + chain.end_L).argmax(axis=1)  # of a text's last step, until that is reached
    for now in reversed(steps):
        here_B = label_B[: _count(now)]
        path_P[now] = here_B
        here_B[:] = np.take_along_axis(origins_PL[now], here_B[:, np.newaxis], axis=1)[:, 0]
    return path_P


def marginals(scores_PL: DoubleArray, steps: Sequence[slice], chain: Chain) -> DoubleArray:
    """Computes the probability of each label at each step over all paths: forward and backward sums, in log space.

    Args:
        scores_PL: Scores of several texts, as `by_step` orders them.
        steps: The slice of each step.
        chain: The model's CRF.

    Returns:
        float64 (P, L), in the same order.
    """
    before_PL = np.empty_like(scores_PL)
    before_PL[steps[0]] = chain.start_L + scores_PL[steps[0]]
    for earlier, now in itertools.pairwise(steps):
        known_BL = before_PL[earlier][: _count(now)]
        before_PL[now] = log_sum(known_BL[:, :, np.newaxis] + chain.transitions_LL, axis=1) + scores_PL[now]
    after_PL = np.tile(chain.end_L, (len(scores_PL), 1))
    for now, earlier in itertools.pairwise(reversed(steps)):
        known_BL = scores_PL[now] + after_PL[now]
        after_PL[earlier][: _count(now)] = log_sum(chain.transitions_LL + known_BL[:, np.newaxis, :], axis=2)
    together_PL = before_PL + after_PL
    probabilities_PL: DoubleArray = np.exp(together_PL - together_PL.max(axis=1, keepdims=True))
    probabilities_PL /= probabilities_PL.sum(axis=1, keepdims=True)
    return probabilities_PL


def _count(step: slice) -> int:
    """Returns the number of texts that have a step."""
    return int(step.stop - step.start)


def log_sum(values: DoubleArray, axis: int) -> DoubleArray:
    """Returns the log of the sum of exp(values) along an axis."""
    greatest = values.max(axis=axis, keepdims=True)
    total: DoubleArray = np.log(np.exp(values - greatest).sum(axis=axis)) + greatest.squeeze(axis)
    return total
