"""Which places of a padded array count."""

import numpy as np
import numpy.typing as npt

from seqserve.training.arrays import IntArray


def inside(lengths: IntArray, size: int) -> npt.NDArray[np.bool_]:
    """True where a row has not ended: bool (..., size) for int32 lengths (...)."""
    places = np.arange(size, dtype=np.int32)
    return np.less(places, lengths[..., np.newaxis])
