"""How much more often tokens occur with a label than without it: what counting alone knows before training begins.

log(p / q) for each token and label: Wang and Manning 2012, section 2.1, with each label against all others. p is the
token's part of all tokens that have the label, q that of those without it.

Axes: V tokens of the vocabulary, L labels.
"""

import numpy as np
import numpy.typing as npt

from seqserve.training.data.sentences import TagData
from seqserve.training.data.texts import ClassData

SMOOTHING = 1.0
"""Added to every count, so that a token that was never seen with a label does not rule it out."""

DoubleArray = npt.NDArray[np.float64]


def ratios_of_texts(data: ClassData, vocabulary_size: int) -> DoubleArray:
    """Log-count ratios float64 (V, L) of tokens in labelled texts; a token counts once a text."""
    with_VL = np.zeros((vocabulary_size, len(data.label_names)))
    without_VL = with_VL.copy()
    for words, names in zip(data.words, data.names, strict=True):
        tokens = np.unique(data.lexicon.ids[words])
        has_L = np.isin(data.label_names, names)
        with_VL[np.ix_(tokens, has_L)] += 1
        without_VL[np.ix_(tokens, ~has_L)] += 1
    return _log_ratios(with_VL, without_VL)


def ratios_of_tokens(data: TagData, vocabulary_size: int, label_count: int) -> DoubleArray:
    """Log-count ratios float64 (V, L) of tokens that have a label each, all of them known."""
    with_VL = np.zeros((vocabulary_size, label_count))
    np.add.at(with_VL, (data.lexicon.ids[np.concatenate(data.words)], np.concatenate(data.labels)), 1)
    return _log_ratios(with_VL, with_VL.sum(axis=1, keepdims=True) - with_VL)


def _log_ratios(with_VL: DoubleArray, without_VL: DoubleArray) -> DoubleArray:
    with_VL, without_VL = with_VL + SMOOTHING, without_VL + SMOOTHING
    ratios_VL: DoubleArray = np.log(with_VL / with_VL.sum(0)) - np.log(without_VL / without_VL.sum(0))
    return ratios_VL
