"""ONNX graphs written node by node from a network's weights: one recurrent operator a layer.

torch orders an LSTM's gates input, forget, cell, output and a GRU's reset, update, new (torch.nn.LSTM, torch.nn.GRU);
ONNX orders them input, output, forget, cell and update, reset, hidden (operators LSTM-14, GRU-14). torch's GRU applies
the reset gate after the recurrent product, which is ONNX's ``linear_before_reset=1``. Both keep two bias vectors.
"""

# pyright: reportUnknownMemberType=false
# onnx's annotations leave arguments of its checker open.

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from seqserve.training.config import CellKind
from seqserve.training.layers import STATE_KINDS, RecurrentStack
from seqserve.training.runner import STATE_OUTPUT_SUFFIX, Array
from seqserve.training.tensors import array

OPSET = 18
IR_VERSION = 9

GATES = {CellKind.LSTM: (0, 3, 1, 2), CellKind.GRU: (1, 0, 2)}
"""For each gate in ONNX's order, its place in torch's."""
OPERATORS = {CellKind.LSTM: "LSTM", CellKind.GRU: "GRU"}
ATTRIBUTES: dict[CellKind, dict[str, Any]] = {CellKind.LSTM: {}, CellKind.GRU: {"linear_before_reset": 1}}


@dataclass
class GraphBuilder:
    """Nodes, constants, inputs and outputs of a graph in the making; names are given by the caller and unique."""

    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    constants: list[TensorProto] = field(default_factory=list[TensorProto])
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list[onnx.ValueInfoProto])
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list[onnx.ValueInfoProto])

    def input(self, name: str, element_type: int, axes: Sequence[str | int]) -> str:
        """Declare a graph input."""
        self.inputs.append(helper.make_tensor_value_info(name, element_type, list(axes)))
        return name

    def output(self, name: str, element_type: int, axes: Sequence[str | int]) -> None:
        """Declare a value as a graph output."""
        self.outputs.append(helper.make_tensor_value_info(name, element_type, list(axes)))

    def constant(self, name: str, value: Array) -> str:
        """Add a constant."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node of one output."""
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def lookup(self, name: str, table: Tensor, indices: str) -> str:
        """Rows of an embedding ``table`` (N, E) at ``indices`` of any shape."""
        return self.node("Gather", [self.constant(f"{name}.table", array(table)), indices], name, axis=0)

    def linear(self, name: str, layer: nn.Linear, x: str) -> str:
        """``x`` W^T + b over the last axis."""
        product = self.node("MatMul", [x, self.constant(f"{name}.weight", array(layer.weight).T)], f"{name}.product")
        return self.node("Add", [product, self.constant(f"{name}.bias", array(layer.bias))], name)

    def recurrent(
        self, prefix: str, stack: RecurrentStack, x: str, lengths: str, *, carries_state: bool
    ) -> tuple[str, tuple[str, ...]]:
        """A recurrent stack; with ``carries_state`` also its state inputs and outputs, named as ``stack.state_names``.

        Returns: the name of the outputs (T, B, D * H), and of the last layer's final states (D, B, H).
        """
        kinds = STATE_KINDS[stack.cell]
        finals: tuple[str, ...] = ()
        for index, layer in enumerate(stack.layers):
            name = f"{prefix}{index}"
            states = [f"{kind}{index}" for kind in kinds] if carries_state else []
            axes = (stack.directions, "B", stack.hidden_size)
            initial = [self.input(state, TensorProto.FLOAT, axes) for state in states]
            finals = tuple(f"{s}{STATE_OUTPUT_SUFFIX}" for s in states) or tuple(
                f"{name}.{kind}_last" for kind in kinds
            )
            weights = [
                self.constant(f"{name}.{part}", value)
                for part, value in recurrent_weights(stack.cell, layer, stack.directions).items()
            ]
            self.nodes.append(
                helper.make_node(
                    OPERATORS[stack.cell],
                    [x, *weights, lengths, *initial],
                    [f"{name}.steps", *finals],
                    name=name,
                    hidden_size=stack.hidden_size,
                    direction="bidirectional" if stack.directions == 2 else "forward",
                    **ATTRIBUTES[stack.cell],
                )
            )
            x = self._directions_side_by_side(f"{name}.output", f"{name}.steps", stack)
            for state in states:
                self.output(f"{state}{STATE_OUTPUT_SUFFIX}", TensorProto.FLOAT, axes)
        return x, finals

    def _directions_side_by_side(self, name: str, steps: str, stack: RecurrentStack) -> str:
        """(T, D, B, H), as the operators give it, to (T, B, D * H)."""
        if stack.directions == 1:
            return self.node("Squeeze", [steps, self.constant(f"{name}.axis", integers([1]))], name)
        turned = self.node("Transpose", [steps], f"{name}.turned", perm=[0, 2, 1, 3])
        return self.node("Reshape", [turned, self.constant(f"{name}.shape", integers([0, 0, -1]))], name)

    def serialized(self, name: str) -> bytes:
        """The finished graph, checked, as the bytes of a model file; equal weights give equal bytes."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="seqserve")
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)


def recurrent_weights(cell: CellKind, layer: nn.Module, directions: int) -> dict[str, Array]:
    """Weights of one layer as the ONNX operator takes them.

    Returns: W float32 (D, G * H, I), R (D, G * H, H), B (D, 2 * G * H), with gates in ONNX's order.
    """
    parameters = {name: array(value) for name, value in layer.named_parameters()}

    def reordered(name: str) -> Array:
        blocks = np.split(parameters[name], len(GATES[cell]))
        return np.concatenate([blocks[place] for place in GATES[cell]])

    suffixes = ["_l0", "_l0_reverse"][:directions]
    return {
        "W": np.stack([reordered(f"weight_ih{suffix}") for suffix in suffixes]),
        "R": np.stack([reordered(f"weight_hh{suffix}") for suffix in suffixes]),
        "B": np.stack([np.concatenate([reordered(f"bias_ih{s}"), reordered(f"bias_hh{s}")]) for s in suffixes]),
    }


def integers(values: Sequence[int]) -> Array:
    """An int64 array, as ONNX takes axes and shapes."""
    return np.asarray(values, dtype=np.int64)
