"""Batch state: the recurrent tensors of the sequences that share a step.

Owns the arrays and nothing else: no requests, no time, no transport. Arrays are carried from step to step as the graph
returns them. Rows are copied only when a sequence joins or leaves.

Axes: D directions, B sequences, H units, U units of all tensors and directions. A state is one array (D, B, H) for each
recurrent tensor, in the order of the manifest's states. The state of a model without state is the empty tuple.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
State = tuple[FloatArray, ...]


def join(states: Sequence[State]) -> State:
    """Joins states into one batch, in the given order.

    Args:
        states: At least one. The i-th has B_i rows.

    Returns:
        Arrays (D, sum of B_i, H). They are copies, except for a single state, which is returned as it is.

    Raises:
        ValueError: There are no states, or their tensors do not match.
    """
    if len(states) == 1:
        return states[0]
    if not states:
        raise ValueError("a batch needs at least one sequence")
    return tuple(np.concatenate(tensors, axis=1) for tensors in zip(*states, strict=True))


def rows(state: State, index: Sequence[int]) -> State:
    """Copies the rows at ``index`` out of a batch, in that order.

    Args:
        state: Arrays (D, B, H).
        index: K distinct rows, each in [0, B).

    Returns:
        Arrays (D, K, H). Writing to them does not change the batch.

    Raises:
        IndexError: A row is outside the batch.
    """
    chosen = np.asarray(index, dtype=np.intp)
    return tuple(tensor[:, chosen] for tensor in state)  # fancy indexing copies


def pack(state: State) -> FloatArray:
    """Concatenates the tensors of each sequence into a row.

    Args:
        state: Arrays (D, B, H).

    Returns:
        float32 (B, U), a copy.

    Raises:
        ValueError: The state is empty.
    """
    if not state:
        raise ValueError("a model without state has no rows")
    count = state[0].shape[1]
    return np.concatenate([tensor.transpose(1, 0, 2).reshape(count, -1) for tensor in state], axis=1)


def unpack(rows_BU: FloatArray, like: State) -> State:
    """Returns the state with these rows, the inverse of pack.

    Args:
        rows_BU: float32 (B, U).
        like: Any state of the same model.
    """
    state: list[FloatArray] = []
    start = 0
    for tensor in like:
        directions, _, size = tensor.shape
        part = rows_BU[:, start : start + directions * size]
        state.append(np.ascontiguousarray(part.reshape(len(rows_BU), directions, size).transpose(1, 0, 2)))
        start += directions * size
    return tuple(state)
