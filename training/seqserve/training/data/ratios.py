"""How much more often tokens occur with a label than without it: what counting alone knows before training begins.

Axes: V tokens of the vocabulary, L labels.
"""

import numpy as np
import numpy.typing as npt

from seqserve.training.data.texts import ClassData

SMOOTHING = 1.0
"""Added to every count, so that a token that was never seen with a label does not rule it out."""


def log_count_ratios(data: ClassData, vocabulary_size: int) -> npt.NDArray[np.float64]:
    """For each token and label log(p / q): Wang and Manning 2012, section 2.1, with each label against all others.

    p is the token's part of all tokens of texts with the label, q that of texts without it; a token counts once a text.

    Args:
        data: the texts to count in.
        vocabulary_size: V.
    Returns: float64 (V, L).
    """
    with_VL = np.full((vocabulary_size, len(data.label_names)), SMOOTHING)
    without_VL = with_VL.copy()
    for words, names in zip(data.words, data.names, strict=True):
        tokens = np.unique(data.lexicon.ids[words])
        has_L = np.isin(data.label_names, names)
        with_VL[np.ix_(tokens, has_L)] += 1
        without_VL[np.ix_(tokens, ~has_L)] += 1
    ratios_VL: npt.NDArray[np.float64] = np.log(with_VL / with_VL.sum(0)) - np.log(without_VL / without_VL.sum(0))
    return ratios_VL
