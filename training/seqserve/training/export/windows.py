"""Bidirectional stacks in windows: forward states are inputs and outputs, backward states start in each window.

A window contains the steps to answer and their look-ahead. Its outputs use the forward states at its start and a
backward pass from its end. The next window continues with the forward states after the answered steps, before the end
of the window. The forward direction therefore runs over these steps once more, because an operator returns its states
only at the end of a row. A window that reaches the end of a sequence gives the same outputs as the whole sequence
(Zhang et al. 2016, "Highway long short-term memory RNNs for distant speech recognition": latency-controlled
bidirectional networks).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from onnx import TensorProto
from torch import nn

from seqserve.training.export.graph import GraphBuilder
from seqserve.training.export.nodes import integers
from seqserve.training.export.operators import Operator, operator_node, operator_of, operator_weights
from seqserve.training.export.rows import first_steps, greatest
from seqserve.training.export.scan import Rows, rows, scan_node, scanned_direction, side_by_side
from seqserve.training.layers import STATE_KINDS, RecurrentStack
from seqserve.training.layers.formulas import FORMULAS, Formula
from seqserve.training.runner import STATE_OUTPUT_SUFFIX


@dataclass(frozen=True)
class Layer:
    """One layer of such a stack.

    Attributes:
        name: what it adds to the graph is named after it.
        weights: the trained layer.
        hidden_size: H.
        x: input (T, B, I).
        before: forward states (1, B, H) at the beginning.
        behind: backward states (1, B, H) at the end; empty names where these are an operator's own zeros.
        carried: names for the forward states (1, B, H) that go on.
    """

    name: str
    weights: nn.Module
    hidden_size: int
    x: str
    before: Sequence[str]
    behind: Sequence[str]
    carried: Sequence[str]


def windowed(build: GraphBuilder, prefix: str, stack: RecurrentStack, x: str, lengths: str, carry_lengths: str) -> str:
    """A bidirectional stack whose forward states are inputs and outputs (1, B, H), named as ``stack.state_names``.

    Args:
        build: the graph.
        prefix: of the names of the layers.
        stack: with two directions.
        x: input (T, B, I).
        lengths: int32 (B), steps of each row.
        carry_lengths: int32 (B), after how many of them the forward states are given out: 1 to the row's length.
    Returns: the name of the outputs (T, B, 2 * H).
    """
    most = greatest(build, f"{prefix}.most", carry_lengths)
    add: Callable[[Layer], str]
    if (operator := operator_of(stack)) is not None:
        add = partial(_by_operators, build, operator, lengths, carry_lengths, most)
    else:
        carried = rows(build, f"{prefix}.carried", first_steps(build, f"{prefix}.carried.x", x, most), carry_lengths)
        add = partial(_by_scans, build, FORMULAS[stack.cell], rows(build, prefix, x, lengths), carried, most)
    axes = (1, "B", stack.hidden_size)
    for index, weights in enumerate(stack.layers):
        name = f"{prefix}{index}"
        states = [f"{kind}{index}" for kind in STATE_KINDS[stack.cell]]
        before = [build.input(state, TensorProto.FLOAT, axes) for state in states]
        behind = [build.initial(f"{name}.{state}", stack, state, lengths, first=1) for state in states]
        carried_states = [f"{state}{STATE_OUTPUT_SUFFIX}" for state in states]
        y = add(Layer(name, weights, stack.hidden_size, x, before, behind, carried_states))
        x = build.node("Add", [y, x], f"{name}.residual") if index and stack.residual else y
        for state in carried_states:
            build.output(state, TensorProto.FLOAT, axes)
    return x


def _by_operators(
    build: GraphBuilder, operator: Operator, lengths: str, carry_lengths: str, most: str, layer: Layer
) -> str:
    """A layer of three operators: forward, backward, and forward as far as the states go on."""
    name = layer.name
    sides = (f"{name}.forward", f"{name}.backward")
    forward, backward = (
        {
            part: build.constant(f"{side}.{part}", value)
            for part, value in operator_weights(operator, layer.weights, [direction]).items()
        }
        for direction, side in enumerate(sides)
    )
    carried_x = first_steps(build, f"{name}.carried.x", layer.x, most)
    size = layer.hidden_size
    for node, direction, x, weights, until, initial, outputs in (
        (sides[0], "forward", layer.x, forward, lengths, layer.before, [f"{sides[0]}.steps"]),
        (sides[1], "reverse", layer.x, backward, lengths, layer.behind, [f"{sides[1]}.steps"]),
        (f"{name}.carried", "forward", carried_x, forward, carry_lengths, layer.before, ["", *layer.carried]),
    ):
        build.nodes.append(
            operator_node(node, operator, x, weights, until, initial, outputs, hidden_size=size, direction=direction)
        )
    steps = [build.squeezed(f"{side}.output", f"{side}.steps", 1) for side in sides]
    return build.node("Concat", steps, f"{name}.output", axis=2)


def _by_scans(build: GraphBuilder, formula: Formula, counted: Rows, carried: Rows, most: str, layer: Layer) -> str:
    """A layer of three Scans; the product of the input is made once for both that go forward."""
    name = layer.name
    sides = (f"{name}.forward", f"{name}.backward")
    outputs: list[str] = []
    before: list[str] = []
    for direction, (side, initial) in enumerate(zip(sides, (layer.before, layer.behind), strict=True)):
        states = [
            build.squeezed(f"{side}.{kind}", state, 0) for kind, state in zip(formula.states, initial, strict=True)
        ]
        y, *_ = scanned_direction(build, side, formula, layer.weights, direction, layer.x, counted, states)
        outputs.append(y)
        before = before or states
    from_x = first_steps(build, f"{name}.carried.from_x", f"{sides[0]}.from_x", most)
    _, *ends = scan_node(
        build, f"{name}.carried", sides[0], layer.weights, formula, layer.hidden_size, from_x, carried, before
    )
    front = build.constant(f"{name}.carried.front", integers([0]))
    for state, end in zip(layer.carried, ends, strict=True):
        build.node("Unsqueeze", [end, front], state)
    return side_by_side(build, name, outputs, counted)
