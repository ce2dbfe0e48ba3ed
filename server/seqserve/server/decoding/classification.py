"""Label probabilities of a classifier's outputs, and the labels that apply.

Axes: B sequences, L labels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seqserve.server.model.manifest import Labels
from seqserve.server.model.state import FloatArray

DoubleArray = npt.NDArray[np.float64]

_THRESHOLD_DEFAULT = 0.5


def label_probabilities(logits_BL: FloatArray, labels: Labels) -> DoubleArray:
    """Computes the probability of each label.

    Args:
        logits_BL: The classifier's outputs.
        labels: The manifest's labels. With ``multiple`` each label has its own probability (sigmoid), else they add up
            to 1 (softmax).

    Returns:
        float64 (B, L).
    """
    wide_BL = logits_BL.astype(np.float64)
    if labels.multiple:
        probabilities_BL: DoubleArray = np.exp(-np.logaddexp(0.0, -wide_BL))  # 1 / (1 + exp(-x)), at any x
        return probabilities_BL
    weights_BL: DoubleArray = np.exp(wide_BL - wide_BL.max(axis=1, keepdims=True))
    weights_BL /= weights_BL.sum(axis=1, keepdims=True)
    return weights_BL


def chosen_labels(probabilities_L: DoubleArray, labels: Labels) -> list[int]:
    """Chooses the labels that apply to a sequence.

    Args:
        probabilities_L: The probability of each label.
        labels: The manifest's labels. With ``multiple`` those with at least the model's threshold apply, else the most
            likely one does.

    Returns:
        Indexes of the labels, ascending.
    """
    if not labels.multiple:
        return [int(probabilities_L.argmax())]
    return np.flatnonzero(probabilities_L >= (labels.threshold or _THRESHOLD_DEFAULT)).tolist()
