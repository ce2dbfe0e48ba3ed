"""Label scores to labels.

Axes: T steps, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqserve.server.state import FloatArray


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """The label of one step, its probability, and the likeliest labels with theirs, best first."""

    label: int
    score: float
    top: tuple[tuple[int, float], ...] = ()


def choose_labels(scores_TL: FloatArray, top: int = 0) -> list[LabelChoice]:
    """The likeliest label of each step on its own (softmax).

    Args:
        scores_TL: float32, before softmax.
        top: How many of the likeliest labels to tell; ties go to the lower index.
    """
    weights_TL = np.exp(scores_TL.astype(np.float64) - scores_TL.max(axis=1, keepdims=True))
    probabilities_TL = weights_TL / weights_TL.sum(axis=1, keepdims=True)
    best_T = scores_TL.argmax(axis=1)
    order_TK = np.argsort(-probabilities_TL, axis=1, kind="stable")[:, :top]
    return [
        LabelChoice(
            int(best), float(probabilities[best]), tuple((int(label), float(probabilities[label])) for label in order)
        )
        for best, probabilities, order in zip(best_T, probabilities_TL, order_TK, strict=True)
    ]
