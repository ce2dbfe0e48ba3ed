"""Batch state: the recurrent tensors of the sequences that share a step.

Owns the arrays and nothing else: no requests, no time, no transport. Arrays are carried from step to step as the graph
returns them; rows are copied only when a sequence joins or leaves.

Axes: D directions, B sequences, H units, U units of all tensors and directions. A state is one array (D, B, H) for each
recurrent tensor, in the order of the manifest's states; a model without state has the empty tuple.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
State = tuple[FloatArray, ...]


def join(states: Sequence[State]) -> State:
    """Put sequences side by side into one batch, in the order given.

    Args:
        states: At least one; the i-th has B_i rows.
    Returns: Arrays (D, sum of B_i, H); copies, but for a single state, which is returned as it is.
    Raises: ValueError if there are none, or if their tensors do not match.
    """
    if len(states) == 1:
        return states[0]
    if not states:
        raise ValueError("a batch needs at least one sequence")
    return tuple(np.concatenate(tensors, axis=1) for tensors in zip(*states, strict=True))


def rows(state: State, index: Sequence[int]) -> State:
    """Copy the rows at ``index`` out of a batch, in that order.

    Args:
        state: Arrays (D, B, H).
        index: K distinct rows, each in [0, B).
    Returns: Arrays (D, K, H); writing to them leaves the batch as it was.
    Raises: IndexError if a row is outside the batch.
    """
    chosen = np.asarray(index, dtype=np.intp)
    return tuple(tensor[:, chosen] for tensor in state)  # fancy indexing copies


def pack(state: State) -> FloatArray:
    """Each sequence's tensors in one row, one after the other: (B, U), a copy. One row is one copy, of one sequence.

    Raises: ValueError for the empty state.
    """
    if not state:
        raise ValueError("a model without state has no rows")
    count = state[0].shape[1]
    return np.concatenate([tensor.transpose(1, 0, 2).reshape(count, -1) for tensor in state], axis=1)


def unpack(rows_BU: FloatArray, like: State) -> State:
    """The state whose rows these are: the inverse of pack. Args: like: any state of the same model."""
    state: list[FloatArray] = []
    start = 0
    for tensor in like:
        directions, _, size = tensor.shape
        part = rows_BU[:, start : start + directions * size]
        state.append(np.ascontiguousarray(part.reshape(len(rows_BU), directions, size).transpose(1, 0, 2)))
        start += directions * size
    return tuple(state)
