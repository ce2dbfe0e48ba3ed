"""Bidirectional stacks read in windows: the same numbers as before, and forward states that are exact."""

from functools import lru_cache

import numpy as np
import pytest
from onnx import TensorProto

from seqserve.training.config import CellKind
from seqserve.training.export.graph import GraphBuilder
from seqserve.training.export.model import state_specs
from seqserve.training.export.windows import windowed
from seqserve.training.runner import GraphRunner, initial_states

from ..stacks import Array, Lengths, Stack, States, a_stack, graph_of

CELLS = list(CellKind)
STEPS = 9
LENGTHS = np.array([STEPS, 1, 6, 3], np.int32)


class Windowed:
    """A bidirectional stack as a graph for windows, and as a graph for whole sequences."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack.torch
        self.states = state_specs(stack.torch)
        build = GraphBuilder()
        x = build.input("tokens", TensorProto.FLOAT, ("T", "B", stack.torch.input_size))
        for name in ("lengths", "carry_lengths"):
            build.input(name, TensorProto.INT32, ("B",))
        y = windowed(build, "layer", stack.torch, x, "lengths", "carry_lengths")
        build.output(build.node("Identity", [y], "y"), TensorProto.FLOAT, ("T", "B", stack.torch.output_size))
        self._graph = GraphRunner(build.serialized("stack"))
        self._whole = stack.graph

    def whole(self, x: Array, lengths: Lengths) -> Array:
        """Outputs of the graph that knows of no windows."""
        return self._whole({"tokens": x, "lengths": lengths})["y"]

    def run(self, x: Array, lengths: Lengths, carry: Lengths, states: States | None = None) -> tuple[Array, States]:
        """Outputs, and forward states after ``carry`` steps."""
        states = initial_states(self.states, len(lengths)) if states is None else states
        outputs = self._graph({"tokens": x, "lengths": lengths, "carry_lengths": carry, **states})
        return outputs["y"], {state.input: outputs[state.output] for state in self.states}


@lru_cache
def a_windowed(cell: CellKind, layers: int = 2, *, learned: bool = True) -> Windowed:
    return Windowed(
        a_stack(cell, layers=layers, bidirectional=True, residual=True, learned_initial_state=learned, seed=layers)
    )


def inputs(batch: int = len(LENGTHS)) -> Array:
    return np.random.default_rng(1).uniform(-2, 2, (STEPS, batch, 5)).astype(np.float32)


def counted(y: Array, lengths: Lengths) -> Array:
    return y[np.arange(len(y))[:, None] < lengths]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_whole_sequence_gives_what_it_gave_without_windows_to_the_bit(cell: CellKind, learned: bool) -> None:
    graph = a_windowed(cell, learned=learned)
    x = inputs()
    for carry in (np.ones_like(LENGTHS), LENGTHS):
        y, _ = graph.run(x, LENGTHS, carry)
        np.testing.assert_array_equal(counted(y, LENGTHS), counted(graph.whole(x, LENGTHS), LENGTHS))


@pytest.mark.parametrize("cell", CELLS)
def test_the_forward_state_of_one_layer_is_that_of_a_forward_network_to_the_bit(cell: CellKind) -> None:
    graph = a_windowed(cell, layers=1)
    forward = a_stack(cell, layers=1, learned_initial_state=True)
    theirs = dict(graph.stack.named_parameters())
    for name, parameter in forward.torch.named_parameters():
        parameter.data = theirs[name].data[:1] if name.startswith("initial.") else theirs[name].data
    forward = Stack(forward.torch, graph_of(forward.torch))
    x, carry = inputs(), np.array([4, 1, 6, 2], np.int32)
    _, found = graph.run(x, LENGTHS, carry)
    _, wanted = forward.in_onnx(x[:6], carry, forward.initial(4))
    for name, state in wanted.items():
        np.testing.assert_array_equal(found[name], state)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_windows_that_see_the_end_give_the_whole_sequence_to_the_bit(cell: CellKind, layers: int) -> None:
    graph = a_windowed(cell, layers)
    x = inputs(1)
    whole, last = graph.run(x, np.array([STEPS], np.int32), np.array([STEPS], np.int32))
    for answered in (1, 2, 5):
        begin, states, parts = 0, None, []
        while begin < STEPS:
            rest = np.array([STEPS - begin], np.int32)
            carry = np.minimum(rest, answered).astype(np.int32)
            y, states = graph.run(x[begin:], rest, carry, states)
            parts.append(y[: carry[0]])
            begin += answered
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        for name, state in last.items():
            np.testing.assert_array_equal(states[name], state)  # type: ignore[index]


@pytest.mark.parametrize("cell", CELLS)
def test_a_window_is_the_same_beside_others(cell: CellKind) -> None:
    graph = a_windowed(cell)
    x, carry = inputs(), np.array([4, 1, 6, 2], np.int32)
    together, states = graph.run(x, LENGTHS, carry)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, own = graph.run(x[:length, row : row + 1], LENGTHS[row : row + 1], carry[row : row + 1])
        np.testing.assert_array_equal(alone[:, 0], together[:length, row])
        for name, state in own.items():
            np.testing.assert_array_equal(state[:, 0], states[name][:, row])


@pytest.mark.parametrize("cell", [CellKind.LSTM, CellKind.MGU])
def test_carrying_changes_what_a_later_window_says(cell: CellKind) -> None:
    """Without this the tests above could pass with states that go nowhere."""
    graph = a_windowed(cell)
    x, carry = inputs(), np.ones_like(LENGTHS)
    _, states = graph.run(x, LENGTHS, carry)
    fresh, _ = graph.run(x, LENGTHS, carry)
    carried, _ = graph.run(x, LENGTHS, carry, states)
    assert not np.array_equal(fresh[0], carried[0])
