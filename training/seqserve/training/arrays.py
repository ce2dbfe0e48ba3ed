"""Types of NumPy arrays that modules pass to each other."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""An input or output of a graph, of any element type."""
IntArray = npt.NDArray[np.int32]
"""Token ids, label ids, or lengths."""
