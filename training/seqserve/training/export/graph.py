"""ONNX graphs written node by node from a network's weights: an operator or a Scan for each recurrent layer.

Which of them a cell gets was measured (docs/cells.md).
"""

# pyright: reportUnknownMemberType=false
# onnx's annotations leave arguments of its checker open.

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import nn

from seqserve.training.export.int8 import int8_linear, int8_lookup
from seqserve.training.export.nodes import NodeBuilder, integers
from seqserve.training.export.operators import OPERATORS, operator_node, operator_of, operator_weights
from seqserve.training.export.scan import rows, scanned
from seqserve.training.int8 import Int8Embedding, Int8Linear
from seqserve.training.layers import STATE_KINDS, RecurrentStack
from seqserve.training.layers.formulas import FORMULAS
from seqserve.training.runner import STATE_OUTPUT_SUFFIX
from seqserve.training.tensors import array

OPSET = 18
IR_VERSION = 9

__all__ = ["IR_VERSION", "OPSET", "GraphBuilder", "integers"]


class GraphBuilder(NodeBuilder):
    """A graph in the making that may have recurrent layers, and layers of int8."""

    def lookup(self, name: str, embedding: nn.Embedding, indices: str) -> str:
        """Rows of an embedding's table (N, E) at ``indices`` of any shape."""
        if isinstance(embedding, Int8Embedding):
            return int8_lookup(self, name, embedding, indices)
        return super().lookup(name, embedding, indices)

    def linear(self, name: str, layer: nn.Linear, x: str) -> str:
        """``x`` W^T + b over the last axis."""
        return int8_linear(self, name, layer, x) if isinstance(layer, Int8Linear) else super().linear(name, layer, x)

    def recurrent(
        self, prefix: str, stack: RecurrentStack, x: str, lengths: str, *, carries_state: bool
    ) -> tuple[str, tuple[str, ...]]:
        """A recurrent stack; with ``carries_state`` also its state inputs and outputs, named as ``stack.state_names``.

        Returns: the name of the outputs (T, B, D * H), and of the last layer's final states (D, B, H).
        """
        kinds = STATE_KINDS[stack.cell]
        finals: tuple[str, ...] = ()
        steps = None if operator_of(stack) else rows(self, prefix, x, lengths)
        for index, layer in enumerate(stack.layers):
            name = f"{prefix}{index}"
            states = [f"{kind}{index}" for kind in kinds]
            axes = (stack.directions, "B", stack.hidden_size)
            if carries_state:
                initial = [self.input(state, TensorProto.FLOAT, axes) for state in states]
                finals = tuple(f"{state}{STATE_OUTPUT_SUFFIX}" for state in states)
            else:
                initial = [self.initial(f"{name}.{kind}", stack, f"{kind}{index}", lengths) for kind in kinds]
                finals = tuple(f"{name}.{kind}_last" for kind in kinds)
            if steps is None:
                y = self._operator(name, stack, layer, x, lengths, initial, finals)
            else:
                y = scanned(self, name, FORMULAS[stack.cell], layer, x, steps, initial, finals, stack.directions)
            x = self.node("Add", [y, x], f"{name}.residual") if index and stack.residual else y
            if carries_state:
                for final in finals:
                    self.output(final, TensorProto.FLOAT, axes)
        return x, finals

    def _operator(
        self,
        name: str,
        stack: RecurrentStack,
        layer: nn.Module,
        x: str,
        lengths: str,
        initial: list[str],
        finals: tuple[str, ...],
    ) -> str:
        """One layer as an operator; returns the outputs (T, B, D * H)."""
        operator = OPERATORS[stack.cell]
        weights = operator_weights(operator, layer, range(stack.directions))
        constants = {part: self.constant(f"{name}.{part}", value) for part, value in weights.items()}
        direction = "bidirectional" if stack.directions == 2 else "forward"
        outputs = [f"{name}.steps", *finals]
        self.nodes.append(
            operator_node(
                name,
                operator,
                x,
                constants,
                lengths,
                initial,
                outputs,
                hidden_size=stack.hidden_size,
                direction=direction,
            )
        )
        return self._directions_side_by_side(f"{name}.output", f"{name}.steps", stack)

    def initial(self, name: str, stack: RecurrentStack, state: str, lengths: str, *, first: int = 0) -> str:
        """The state that every row starts from (D, B, H), of the directions from ``first`` on.

        Returns: its name; empty if the operator's default of zeros applies.
        """
        if not stack.initial and operator_of(stack):
            return ""
        learned = array(stack.initial[state]) if stack.initial else np.zeros((stack.directions, stack.hidden_size))
        one_row = self.constant(f"{name}.first", learned[first:, None].astype(np.float32))
        batch = self.node("Shape", [lengths], f"{name}.batch")
        one = self.constant(f"{name}.one", integers([1]))
        shape = self.node("Concat", [one, batch, one], f"{name}.shape", axis=0)
        return self.node("Expand", [one_row, shape], name)

    def _directions_side_by_side(self, name: str, steps: str, stack: RecurrentStack) -> str:
        """(T, D, B, H), as the operators give it, to (T, B, D * H)."""
        if stack.directions == 1:
            return self.squeezed(name, steps, 1)
        turned = self.node("Transpose", [steps], f"{name}.turned", perm=[0, 2, 1, 3])
        return self.node("Reshape", [turned, self.constant(f"{name}.shape", integers([0, 0, -1]))], name)

    def serialized(self, name: str) -> bytes:
        """The finished graph, checked, as the bytes of a model file; equal weights give equal bytes."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="seqserve")
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)
