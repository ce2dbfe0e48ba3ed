"""A text as parallel streams: what truncated backpropagation with carried state reads.

Axes: T time, B batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqserve.training.arrays import IntArray

NO_TARGET = -1
"""Where nothing is to be predicted: behind the end of a document."""


@dataclass(frozen=True)
class Window:
    """A piece of every stream.

    Attributes:
        inputs: int32 (T, B), what goes in; 0 behind the end of a document.
        targets: int32 (T, B), the token that follows each, NO_TARGET behind the end of a document.
        begins: bool (B), whether the stream begins a document here, which resets the state.
    """

    inputs: IntArray
    targets: IntArray
    begins: npt.NDArray[np.bool_]


def windows(ids: IntArray, *, streams: int, steps: int) -> Iterator[Window]:
    """Cut ``ids`` into parallel streams and these into windows, in order of time.

    Args:
        ids: int32 (tokens).
        streams: B; each stream is a stretch of the text, and one ends where the next begins.
        steps: T of every window but the last, which may be shorter.
    Returns: windows whose stream b continues where stream b of the previous window ended. Every token but the first is
        a target exactly once if ``streams`` divides the number of targets; else fewer than ``streams`` at the end are
        left out.
    """
    length = (len(ids) - 1) // streams
    inputs_BN = ids[: length * streams].reshape(streams, length)
    targets_BN = ids[1 : length * streams + 1].reshape(streams, length)
    for start in range(0, length, steps):
        inputs, targets = (np.array(rows[:, start : start + steps].T, order="C") for rows in (inputs_BN, targets_BN))
        yield Window(inputs, targets, np.full(streams, start == 0))


def window_count(tokens: int, *, streams: int, steps: int) -> int:
    """Number of windows that ``windows`` makes of this many tokens."""
    return -(-((tokens - 1) // streams) // steps)


def document_windows(
    ids: IntArray, documents: Sequence[tuple[int, int]], *, streams: int, steps: int
) -> Iterator[Window]:
    """Cut documents into windows, in order of time; a stream that has read one takes the next that nobody has taken.

    Args:
        ids: int32 (tokens).
        documents: where each begins and ends.
        streams: B.
        steps: most steps of a window; it is as short as the longest of its rows.
    Returns: windows in which every token but the first of each document is a target exactly once. A window never goes
        over the end of a document, so a state never does.
    """
    waiting = iter([(start, end) for start, end in documents if end - start > 1])
    reading: list[tuple[int, int] | None] = [next(waiting, None) for _ in range(streams)]
    begins_B = np.full(streams, fill_value=True)
    while any(reading):
        size = max(min(steps, row[1] - row[0] - 1) for row in reading if row)
        inputs_TB = np.zeros((size, streams), dtype=np.int32)
        targets_TB = np.full((size, streams), NO_TARGET, dtype=np.int32)
        begins_now = begins_B.copy()
        for column, row in enumerate(reading):
            if row is None:
                continue
            start, end = row
            taken = min(size, end - start - 1)
            inputs_TB[:taken, column] = ids[start : start + taken]
            targets_TB[:taken, column] = ids[start + 1 : start + taken + 1]
            begins_B[column] = start + taken + 1 == end
            reading[column] = next(waiting, None) if begins_B[column] else (start + taken, end)
        yield Window(inputs_TB, targets_TB, begins_now)


def document_window_count(documents: Sequence[tuple[int, int]], *, streams: int, steps: int) -> int:
    """Number of windows that ``document_windows`` makes of these documents."""
    busy = [0] * streams  # windows until each stream is free; the first free one takes the next document
    for start, end in documents:
        if end - start > 1:
            first = min(range(streams), key=busy.__getitem__)
            busy[first] += -(-(end - start - 1) // steps)
    return max(busy)
