"""Layers as a Scan over a formula, for cells without an operator or with a slower one.

The product of the input is computed for all steps at once, before the Scan; the body depends on the state. Steps after
the end of a row don't change its state. The backward direction reads each row from its last valid step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper
from torch import nn

from seqserve.training.export.int8 import add_int8_weights, int8_state_product
from seqserve.training.export.nodes import NodeBuilder, integers
from seqserve.training.int8 import Int8Layer
from seqserve.training.layers.formulas import Formula, Operations
from seqserve.training.layers.weights import DirectionWeights, direction_weights


@dataclass(frozen=True)
class GraphValue:
    """A value in the body of a Scan. Operations on it become nodes of the body."""

    name: str
    body: NodeBuilder
    prefix: str

    def __add__(self, other: GraphValue, /) -> GraphValue:
        return self.apply("Add", other)

    def __mul__(self, other: GraphValue, /) -> GraphValue:
        return self.apply("Mul", other)

    def apply(self, operator: str, *others: GraphValue) -> GraphValue:
        """The operator's result for this value and others."""
        name = f"{self.prefix}.{operator}{len(self.body.nodes)}"
        self.body.node(operator, [value.name for value in (self, *others)], name)
        return GraphValue(name, self.body, self.prefix)

    def split(self, parts: int) -> tuple[GraphValue, ...]:
        """The last axis in blocks."""
        name = f"{self.prefix}.Split{len(self.body.nodes)}"
        names = [f"{name}.{part}" for part in range(parts)]
        self.body.nodes.append(helper.make_node("Split", [self.name], names, name, axis=-1, num_outputs=parts))
        return tuple(GraphValue(part, self.body, self.prefix) for part in names)

    def complement(self) -> GraphValue:
        """1 minus this value."""
        one = self.body.node("Constant", [], f"{self.prefix}.one{len(self.body.nodes)}", value_float=1.0)
        return GraphValue(one, self.body, self.prefix).apply("Sub", self)


@dataclass(frozen=True)
class Rows:
    """Which steps count: the values that all layers of a stack share.

    Attributes:
        counts: bool (T, B, 1).
        lengths: int64 (B).
    """

    counts: str
    lengths: str


def rows(build: NodeBuilder, prefix: str, x: str, lengths: str) -> Rows:
    """From ``x`` (T, B, I) and int32 ``lengths`` (B)."""
    steps = build.squeezed(f"{prefix}.count", build.node("Shape", [x], f"{prefix}.steps", start=0, end=1), 0)
    bounds = [build.constant(f"{prefix}.{name}", np.int64(value)) for name, value in (("first", 0), ("stride", 1))]
    times = build.node("Range", [bounds[0], steps, bounds[1]], f"{prefix}.times")
    long = build.node("Cast", [lengths], f"{prefix}.lengths", to=TensorProto.INT64)
    times_T11 = build.node("Unsqueeze", [times, build.constant(f"{prefix}.axes", integers([1, 2]))], f"{prefix}.grid")
    long_B1 = build.node("Unsqueeze", [long, build.constant(f"{prefix}.axis", integers([1]))], f"{prefix}.ends")
    return Rows(build.node("Less", [times_T11, long_B1], f"{prefix}.counts"), long)


def scanned(
    build: NodeBuilder,
    name: str,
    formula: Formula,
    layer: nn.Module,
    x: str,
    steps: Rows,
    initial: Sequence[str],
    finals: Sequence[str],
    directions: int,
) -> str:
    """One layer.

    Args:
        build: the graph.
        name: of the layer; what it adds to the graph is named after it.
        formula: of the cell.
        layer: the trained weights.
        x: input (T, B, I).
        steps: which of them count.
        initial: initial states (D, B, H), in the formula's order.
        finals: names for the states after each row's last step.
        directions: 1 or 2.
    Returns: the name of the outputs (T, B, D * H), zeros where a row has ended.
    """
    outputs = list[str]()
    last: dict[str, list[str]] = {final: [] for final in finals}
    for direction in range(directions):
        prefix = f"{name}.{('forward', 'backward')[direction]}"
        states = [
            _of_direction(build, f"{prefix}.{kind}", state, direction, directions)
            for state, kind in zip(initial, formula.states, strict=True)
        ]
        y, *ends = scanned_direction(build, prefix, formula, layer, direction, x, steps, states)
        outputs.append(y)
        front = build.constant(f"{prefix}.front", integers([0]))
        for final, end in zip(finals, ends, strict=True):
            last[final].append(build.node("Unsqueeze", [end, front], f"{end}.direction" if directions > 1 else final))
    if directions > 1:
        for final, parts in last.items():
            build.node("Concat", parts, final, axis=0)
    return side_by_side(build, name, outputs, steps)


def _of_direction(build: NodeBuilder, name: str, state: str, direction: int, directions: int) -> str:
    """The state (B, H) of one direction, from all (D, B, H)."""
    if directions == 1:
        return build.squeezed(name, state, 0)
    return build.node("Gather", [state, build.constant(f"{name}.index", np.int64(direction))], name, axis=0)


def side_by_side(build: NodeBuilder, name: str, outputs: Sequence[str], steps: Rows) -> str:
    """The outputs of the directions, each (T, B, H), as one (T, B, D * H), with zeros where a row has ended."""
    joined = build.node("Concat", outputs, f"{name}.joined", axis=2) if len(outputs) > 1 else outputs[0]
    zero = build.constant(f"{name}.zero", np.float32(0))
    return build.node("Where", [steps.counts, joined, zero], f"{name}.output")


def _turned(build: NodeBuilder, name: str, x: str, steps: Rows) -> str:
    """Each row from its last step that counts to its first; the rest stays where it is."""
    return build.node("ReverseSequence", [x, steps.lengths], name, time_axis=0, batch_axis=1)


def scanned_direction(
    build: NodeBuilder,
    prefix: str,
    formula: Formula,
    layer: nn.Module,
    direction: int,
    x: str,
    steps: Rows,
    states: Sequence[str],
) -> list[str]:
    """The outputs (T, B, H) of one direction in the order of ``x``, and its final states (B, H), from ``states``.

    The product of the input stays in the graph as ``<prefix>.from_x``, for ``scan_node`` to be run over it once more.
    """
    source = _turned(build, f"{prefix}.input", x, steps) if direction else x
    if isinstance(layer, Int8Layer):
        hidden_size, from_x = add_int8_weights(build, prefix, layer.direction(direction), source)
    else:
        hidden_size, from_x = _add_weights(build, prefix, formula, direction_weights(layer, direction), source)
    y, *ends = scan_node(build, prefix, prefix, layer, formula, hidden_size, from_x, steps, states)
    return [_turned(build, f"{prefix}.turned", y, steps) if direction else y, *ends]


def _add_weights(build: NodeBuilder, prefix: str, formula: Formula, of: DirectionWeights, x: str) -> tuple[int, str]:
    """The constants of the step, and the product of the input; returns H and the product's name."""
    from_x = build.affine(f"{prefix}.from_x", x, of.weight, of.bias + of.recurrent_bias)
    for key, weight in of.recurrent.items():
        build.constant(f"{prefix}.{key}", weight.T)
    for key, vector in of.vectors.items():
        build.constant(f"{prefix}.{key}", vector)
    return len(of.bias) // len(formula.blocks), from_x


def scan_node(
    build: NodeBuilder,
    name: str,
    weights_of: str,
    layer: nn.Module,
    formula: Formula,
    hidden_size: int,
    from_x: str,
    steps: Rows,
    states: Sequence[str],
) -> list[str]:
    """The Scan of one direction.

    Args:
        build: the graph.
        name: of the node.
        weights_of: direction whose weights are constants of the graph, under this prefix.
        layer: the trained weights.
        formula: of the cell.
        hidden_size: H.
        from_x: product of the input (T, B, N).
        steps: which of them count.
        states: the initial ones (B, H).
    Returns: the names of the outputs (T, B, H) of all steps, and of the final states (B, H).
    """
    body = NodeBuilder()
    inside = f"{name}.step"

    def value(name: str) -> GraphValue:
        return GraphValue(name, body, inside)

    def product(rows: GraphValue, weight: GraphValue) -> GraphValue:
        if not isinstance(layer, Int8Layer):
            return rows.apply("MatMul", weight)
        return value(int8_state_product(body, f"{inside}.Int8{len(body.nodes)}", weights_of, rows.name, weight.name))

    weights = {key: value(f"{weights_of}.{key}") for key in (*formula.recurrent, *formula.vectors)}
    on = Operations[GraphValue](
        product=product,
        split=GraphValue.split,
        sigmoid=lambda x: x.apply("Sigmoid"),
        tanh=lambda x: x.apply("Tanh"),
        relu=lambda x: x.apply("Relu"),
        complement=GraphValue.complement,
    )
    state, width = ("B", hidden_size), hidden_size * len(formula.blocks)
    before = tuple(value(body.input(f"{inside}.{kind}", TensorProto.FLOAT, state)) for kind in formula.states)
    now = value(body.input(f"{inside}.from_x", TensorProto.FLOAT, ("B", width)))
    counts = value(body.input(f"{inside}.counts", TensorProto.BOOL, ("B", 1)))
    output, after = formula.step(on, now, before, weights)
    for new, old in zip(after, before, strict=True):
        body.output(counts.apply("Where", new, old).name, TensorProto.FLOAT, state)
    body.output(output.apply("Identity").name, TensorProto.FLOAT, state)
    ends = [f"{name}.{kind}_last" for kind in formula.states]
    y = f"{name}.steps"
    graph = helper.make_graph(body.nodes, inside, body.inputs, body.outputs)
    build.nodes.append(
        helper.make_node("Scan", [*states, from_x, steps.counts], [*ends, y], name=name, body=graph, num_scan_inputs=2)
    )
    return [y, *ends]
