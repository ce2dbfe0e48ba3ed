"""Layers as ONNX's own recurrent operators, LSTM and GRU.

The operators order gates input, output, forget, cell and update, reset, hidden (LSTM-14, GRU-14). torch orders them
input, forget, cell, output and reset, update, new, and the formulas of this package follow torch. torch's GRU applies
the reset gate after the recurrent product, ``linear_before_reset=1``. With ``input_forget=1`` the forget gate is 1 - i;
the operator's weights for it are there and unused. Both operators add two bias vectors.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper
from torch import nn

from seqserve.training.arrays import Array
from seqserve.training.config import CellKind
from seqserve.training.int8 import Int8Layer
from seqserve.training.layers import RecurrentStack
from seqserve.training.layers.weights import direction_weights


@dataclass(frozen=True)
class Operator:
    """How a cell is written with an operator.

    Attributes:
        name: of the operator.
        gates: block in the trained weights of each gate, in ONNX's order; None for unused gates.
        attributes: of the node.
        peepholes: vectors in ONNX's order.
    """

    name: str
    gates: tuple[int | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    peepholes: tuple[str, ...] = ()


OPERATORS: dict[CellKind, Operator] = {
    CellKind.LSTM: Operator("LSTM", (0, 3, 1, 2)),
    CellKind.LSTM_PEEPHOLE: Operator("LSTM", (0, 3, 1, 2), peepholes=("p_i", "p_o", "p_f")),
    CellKind.LSTM_COUPLED: Operator("LSTM", (0, 2, None, 1), {"input_forget": 1}),
    CellKind.GRU: Operator("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    CellKind.GRU_RESET_BEFORE: Operator("GRU", (1, 0, 2), {"linear_before_reset": 0}),
}


def operator_of(stack: RecurrentStack) -> Operator | None:
    """The operator of a stack's layers; None if they are Scans."""
    return None if isinstance(stack.layers[0], Int8Layer) else OPERATORS.get(stack.cell)


def operator_weights(operator: Operator, layer: nn.Module, directions: Iterable[int]) -> dict[str, Array]:
    """Weights of these directions of one layer (0 forward, 1 backward) as the operator takes them.

    Returns: W float32 (D, G * H, I), R (D, G * H, H), B (D, 2 * G * H) and with peepholes P (D, 3 * H).
    """
    each = [_one_direction(operator, layer, direction) for direction in directions]
    return {name: np.stack([weights[name] for weights in each]) for name in each[0]}


def _one_direction(operator: Operator, layer: nn.Module, direction: int) -> dict[str, Array]:
    of = direction_weights(layer, direction)
    recurrent = np.concatenate(list(of.recurrent.values()))
    biases = [_reordered(operator, bias) for bias in (of.bias, of.recurrent_bias)]
    weights = {"W": _reordered(operator, of.weight), "R": _reordered(operator, recurrent), "B": np.concatenate(biases)}
    if operator.peepholes:
        weights["P"] = np.concatenate([of.vectors[name] for name in operator.peepholes])
    return weights


def _reordered(operator: Operator, blocks: Array) -> Array:
    trained = np.split(blocks, sum(place is not None for place in operator.gates))
    unused = np.zeros_like(trained[0])
    return np.concatenate([unused if place is None else trained[place] for place in operator.gates])


def operator_node(
    name: str,
    operator: Operator,
    x: str,
    weights: Mapping[str, str],
    lengths: str,
    initial: Sequence[str],
    outputs: Sequence[str],
    *,
    hidden_size: int,
    direction: str,
) -> onnx.NodeProto:
    """An operator's node.

    Args:
        name: of the node.
        operator: which one.
        x: input (T, B, I).
        weights: names of constants, by what ``operator_weights`` calls them.
        lengths: int32 (B).
        initial: states (D, B, H); without a name: zeros.
        outputs: names of the steps (T, D, B, H), and of the final states (D, B, H).
        hidden_size: H.
        direction: forward, reverse or bidirectional.
    """
    inputs = [x, weights["W"], weights["R"], weights["B"], lengths, *initial]
    if operator.peepholes:
        inputs.append(weights["P"])
    while not inputs[-1]:  # omitted inputs at the end have no name
        inputs.pop()
    more: dict[str, Any] = {"hidden_size": hidden_size, "direction": direction, **operator.attributes}
    return helper.make_node(operator.name, inputs, outputs, name, **more)
