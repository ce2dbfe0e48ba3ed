"""Label scores to labels: each on its own, or the likeliest row of them where the model has a CRF.

Axes: T steps, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqserve.server.state import FloatArray
from seqserve.v1 import manifest_pb2

DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """The label of one step, its probability, and the likeliest labels with theirs, best first."""

    label: int
    score: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """What a linear-chain CRF adds to the scores of a row of labels, in float64.

    start_L: for the first label. transitions_LL: for each label (from) and the one after it (to). end_L: for the last.
    """

    start_L: DoubleArray
    transitions_LL: DoubleArray
    end_L: DoubleArray


def chain_of(labels: manifest_pb2.Labels) -> Chain | None:
    """The CRF of a manifest; None if it has none."""
    if not labels.transitions:
        return None
    count = len(labels.names)
    start_L, transitions, end_L = (
        np.array(values, np.float64) for values in (labels.start_scores, labels.transitions, labels.end_scores)
    )
    return Chain(start_L, transitions.reshape(count, count), end_L)


def choose_labels(scores_TL: FloatArray, top: int = 0, chain: Chain | None = None) -> list[LabelChoice]:
    """The label of each step.

    Without a chain it is the likeliest on its own (softmax). With one it is that of the likeliest row of labels, and
    probabilities are marginal: over all rows that have the label at that step. So a label in ``top`` may be likelier
    than the one that was chosen.

    Args:
        scores_TL: float32, before softmax or CRF.
        top: How many of the likeliest labels to tell; ties go to the lower index.
        chain: The model's CRF.
    """
    if not len(scores_TL):
        return []
    wide_TL = scores_TL.astype(np.float64)
    if chain is None:
        weights_TL = np.exp(wide_TL - wide_TL.max(axis=1, keepdims=True))
        probabilities_TL = weights_TL / weights_TL.sum(axis=1, keepdims=True)
        best_T = scores_TL.argmax(axis=1)
    else:
        probabilities_TL = marginals(wide_TL, chain)
        best_T = viterbi(wide_TL, chain)
    order_TK = np.argsort(-probabilities_TL, axis=1, kind="stable")[:, :top]
    return [
        LabelChoice(
            int(best), float(probabilities[best]), tuple((int(label), float(probabilities[label])) for label in order)
        )
        for best, probabilities, order in zip(best_T, probabilities_TL, order_TK, strict=True)
    ]


def viterbi(scores_TL: DoubleArray, chain: Chain) -> npt.NDArray[np.intp]:
    """The row of labels with the highest score, (T); ties go to the lower label (Rabiner 1989, section III.B)."""
    best_L = chain.start_L + scores_TL[0]
    origins_TL = np.zeros(scores_TL.shape, np.intp)
    for step in range(1, len(scores_TL)):
        ways_LL = best_L[:, np.newaxis] + chain.transitions_LL
        origins_TL[step] = ways_LL.argmax(axis=0)
        best_L = ways_LL.max(axis=0) + scores_TL[step]
    path_T = np.empty(len(scores_TL), np.intp)
    path_T[-1] = (best_L + chain.end_L).argmax()
    for step in range(len(scores_TL) - 1, 0, -1):
        path_T[step - 1] = origins_TL[step, path_T[step]]
    return path_T


def marginals(scores_TL: DoubleArray, chain: Chain) -> DoubleArray:
    """The probability of each label at each step over all rows of labels: forward and backward sums, in log space."""
    steps = len(scores_TL)
    before_TL, after_TL = np.empty_like(scores_TL), np.empty_like(scores_TL)
    before_TL[0] = chain.start_L + scores_TL[0]
    for step in range(1, steps):
        before_TL[step] = _log_sum(before_TL[step - 1][:, np.newaxis] + chain.transitions_LL, axis=0) + scores_TL[step]
    after_TL[-1] = chain.end_L
    for step in range(steps - 1, 0, -1):
        after_TL[step - 1] = _log_sum(chain.transitions_LL + (scores_TL[step] + after_TL[step]), axis=1)
    together_TL = before_TL + after_TL
    probabilities_TL: DoubleArray = np.exp(together_TL - together_TL.max(axis=1, keepdims=True))
    probabilities_TL /= probabilities_TL.sum(axis=1, keepdims=True)
    return probabilities_TL


def _log_sum(values: DoubleArray, axis: int) -> DoubleArray:
    """Log of the sum of exp(values) along an axis."""
    greatest = values.max(axis=axis, keepdims=True)
    total: DoubleArray = np.log(np.exp(values - greatest).sum(axis=axis)) + greatest.squeeze(axis)
    return total
