"""A text as parallel streams: what truncated backpropagation with carried state reads.

Axes: T time, B batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Window:
    """A piece of every stream.

    Attributes:
        inputs: int32 (T, B), what goes in.
        targets: int32 (T, B), the token that follows each.
    """

    inputs: IntArray
    targets: IntArray


def windows(ids: IntArray, *, streams: int, steps: int) -> Iterator[Window]:
    """Cut ``ids`` into parallel streams and these into windows, in order of time.

    Args:
        ids: int32 (tokens).
        streams: B; each stream is a stretch of the text, and one ends where the next begins.
        steps: T of every window but the last, which may be shorter.
    Returns: windows whose stream b goes on where stream b of the window before ended. Every token but the first is
        a target exactly once if ``streams`` divides the number of targets; else fewer than ``streams`` at the end are
        left out.
    """
    length = (len(ids) - 1) // streams
    inputs = np.ascontiguousarray(ids[: length * streams].reshape(streams, length).T)
    targets = np.ascontiguousarray(ids[1 : length * streams + 1].reshape(streams, length).T)
    for start in range(0, length, steps):
        yield Window(inputs[start : start + steps], targets[start : start + steps])


def window_count(tokens: int, *, streams: int, steps: int) -> int:
    """Number of windows that ``windows`` makes of this many tokens."""
    return -(-((tokens - 1) // streams) // steps)
