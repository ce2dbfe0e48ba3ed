"""In ONNX Runtime a row's bits depend neither on the rows beside it nor on how time is cut: what servers promise."""

import numpy as np
import pytest

from seqserve.training.config import CellKind

from ..stacks import Stack, a_stack

CELLS = list(CellKind)
SIZES = (7, 33, 64)
"""Hidden units: below, at and beside the widths of vector registers."""
STEPS, BATCH = 9, 64


def batch_of(stack: Stack) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    generator = np.random.default_rng(5)
    x = generator.uniform(-2, 2, (STEPS, BATCH, stack.torch.input_size)).astype(np.float32)
    lengths = generator.integers(1, STEPS + 1, BATCH).astype(np.int32)
    states = stack.initial(BATCH) if stack.torch.directions == 2 else stack.states(BATCH, generator)
    return x, lengths, states


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_row_is_the_same_in_every_batch(cell: CellKind, size: int, bidirectional: bool) -> None:
    stack = a_stack(cell, input_size=5, hidden_size=size, layers=2, bidirectional=bidirectional)
    x, lengths, states = batch_of(stack)
    y, finals = stack.in_onnx(x, lengths, states)
    for first, count in ((0, 1), (1, 2), (3, 3), (6, 5), (11, 16), (27, 17), (63, 1)):
        rows = slice(first, first + count)
        steps = lengths[rows].max()
        part, last = stack.in_onnx(x[:steps, rows], lengths[rows], {n: s[:, rows] for n, s in states.items()})
        np.testing.assert_array_equal(part, y[:steps, rows])
        for name, state in last.items():
            np.testing.assert_array_equal(state, finals[name][:, rows])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_row_is_the_same_however_time_is_cut(cell: CellKind, size: int) -> None:
    stack = a_stack(cell, input_size=5, hidden_size=size, layers=2)
    x, _, states = batch_of(stack)
    whole, finals = stack.in_onnx(x, np.full(BATCH, STEPS, np.int32), states)
    for cuts in ((1, 1, 1, 1, 1, 1, 1, 1, 1), (4, 5), (2, 6, 1)):
        parts, state, begin = [], states, 0
        for steps in cuts:
            y, state = stack.in_onnx(x[begin : begin + steps], np.full(BATCH, steps, np.int32), state)
            parts.append(y)
            begin += steps
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        for name, value in state.items():
            np.testing.assert_array_equal(value, finals[name])
