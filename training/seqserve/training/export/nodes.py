"""Graphs in the making: nodes, constants, inputs and outputs under names that the caller gives and that are unique."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from seqserve.training.arrays import Array
from seqserve.training.tensors import array

SUMMED_TERMS_MAX = 128
"""Most terms that one product adds up."""


@dataclass
class NodeBuilder:
    """Nodes, constants, inputs and outputs of a graph in the making."""

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

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        """Add a constant."""
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node of one output."""
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def lookup(self, name: str, embedding: nn.Embedding, indices: str) -> str:
        """Rows of an embedding's table (N, E) at ``indices`` of any shape."""
        return self.node("Gather", [self.constant(f"{name}.table", array(embedding.weight)), indices], name, axis=0)

    def linear(self, name: str, layer: nn.Linear, x: str) -> str:
        """``x`` W^T + b over the last axis."""
        return self.affine(name, x, array(layer.weight), array(layer.bias))

    def affine(self, name: str, x: str, weight: Array, bias: Array) -> str:
        """``x`` W^T + b over the last axis, for a weight (M, N) and a bias (M).

        ONNX Runtime adds all N terms up one after the other; sums of parts halve what it rounds away.
        """
        parts = -(-weight.shape[1] // SUMMED_TERMS_MAX)
        blocks = np.array_split(weight, parts, axis=1)
        if parts == 1:
            sources = [x]
        else:
            sources = [f"{name}.part{part}" for part in range(parts)]
            widths = self.constant(f"{name}.widths", integers([block.shape[1] for block in blocks]))
            self.nodes.append(helper.make_node("Split", [x, widths], sources, f"{name}.parts", axis=-1))
        total = self.constant(f"{name}.bias", bias)
        for part, (source, block) in enumerate(zip(sources, blocks, strict=True)):
            factor = self.constant(f"{name}.weight{part}", block.T)
            product = self.node("MatMul", [source, factor], f"{name}.product{part}")
            total = self.node("Add", [product, total], name if part == parts - 1 else f"{name}.sum{part}")
        return total

    def squeezed(self, name: str, x: str, axis: int) -> str:
        """``x`` without an axis of length 1."""
        return self.node("Squeeze", [x, self.constant(f"{name}.axis", integers([axis]))], name)


def integers(values: Sequence[int]) -> Array:
    """An int64 array, as ONNX takes axes and shapes."""
    return np.asarray(values, dtype=np.int64)
