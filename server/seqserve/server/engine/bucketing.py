"""Chooses which inputs share a run of the graph: those of similar length, because rows are padded to the longest."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_STEP_ROWS = 4  # fixed cost of a step, in rows. Measured: 80 µs and 18 µs a row (LSTM of 512 units)


def choose_batch(lengths: Sequence[int], steps_max: int, rows_max: int) -> list[int]:
    """Chooses the inputs to run together: the oldest, and those that fit it best.

    The cost of a run is the steps of its longest row times its rows plus a constant; its worth is the steps that are
    not padding. The best run has the highest worth for its cost. No row is shorter than half of the longest, so less
    than half of a run is padding.

    Args:
        lengths: Steps of each input, the oldest first; at least one.
        steps_max: Maximum of steps times rows of a run with several rows.
        rows_max: Maximum number of rows of a run.

    Returns:
        The places of the chosen inputs in ``lengths``.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ascending = [lengths[place] for place in order]
    before = [0, *itertools.accumulate(ascending)]  # steps of all that are shorter
    oldest = order.index(0)
    best_worth, best = 0.0, slice(oldest, oldest + 1)
    for last in range(oldest, len(order)):
        longest = ascending[last]
        if longest > 2 * lengths[0]:
            break
        if last + 1 < len(order) and ascending[last + 1] == longest:
            continue  # better with the next, which is as long
        rows = max(1, min(rows_max, steps_max // longest))
        end = min(last + 1, oldest + rows)
        start = oldest
        while start > 0 and end - start < rows and 2 * ascending[start - 1] >= longest:
            if ascending[start - 1] * (end - start + _STEP_ROWS) <= before[end] - before[start]:
                break  # the row is worth less than it costs
            start -= 1
        worth = (before[end] - before[start]) / (longest * (end - start + _STEP_ROWS))
        if worth > best_worth:
            best_worth, best = worth, slice(start, end)
    return order[best]
