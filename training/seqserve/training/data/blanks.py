"""Sequences with blanks: which tokens are hidden, and what stands there.

Axes: T tokens, B sequences.
"""

import numpy as np
import numpy.typing as npt

from seqserve.training.data.padding import inside
from seqserve.training.data.sequences import SequenceBatch

BLANK_SEED = 0
"""Of the blanks that a model is judged by: the same in every run."""

BoolArray = npt.NDArray[np.bool_]


def blank_places(batch: SequenceBatch, fraction: float, generator: np.random.Generator) -> BoolArray:
    """True (T, B) for this fraction of the tokens, drawn; padding is never blank."""
    return (generator.random(batch.tokens.shape) < fraction) & inside(batch.lengths, len(batch.tokens)).T


def evaluation_blanks(batch: SequenceBatch, fraction: float) -> BoolArray:
    """As ``blank_places``, at least one in every sequence, drawn by its place in the data set alone."""
    blank_TB = np.zeros(batch.tokens.shape, dtype=np.bool_)
    for column, (member, length) in enumerate(zip(batch.members, batch.lengths, strict=True)):
        generator = np.random.default_rng((BLANK_SEED, member))
        count = max(1, round(fraction * int(length)))
        blank_TB[generator.choice(int(length), count, replace=False), column] = True
    return blank_TB
