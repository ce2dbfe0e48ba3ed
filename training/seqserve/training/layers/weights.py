"""Weights of one direction of a layer, independent of the module that holds them."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from torch import nn

from seqserve.training.arrays import Array
from seqserve.training.layers.loop import Direction, LoopLayer
from seqserve.training.tensors import array


@dataclass(frozen=True)
class DirectionWeights:
    """Weights of one direction, float32, with the blocks of the gates stacked to N rows.

    Attributes:
        weight: Input weight (N, I).
        bias: Input bias (N).
        recurrent: Recurrent weights by name (blocks * H, H); together N rows, or none.
        recurrent_bias: Recurrent bias (N); zeros for cells with a single bias.
        vectors: Weights with one number per unit, by name (H).
    """

    weight: Array
    bias: Array
    recurrent: dict[str, Array]
    recurrent_bias: Array
    vectors: dict[str, Array]


def direction_weights(layer: nn.Module, direction: int) -> DirectionWeights:
    """Returns the weights of direction 0 (forward) or 1 (backward)."""
    if isinstance(layer, LoopLayer):
        module = cast("Direction", layer.directions[direction])
        bias = array(module.bias_ih)
        recurrent = {name: array(weight) for name, weight in module.weight_hh.items()}
        vectors = {name: array(vector) for name, vector in module.vectors.items()}
        return DirectionWeights(array(module.weight_ih), bias, recurrent, np.zeros_like(bias), vectors)
    suffix = "_l0_reverse" if direction else "_l0"
    weight, R, bias, recurrent_bias = (
        array(layer.get_parameter(name + suffix)) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return DirectionWeights(weight, bias, {"R": R}, recurrent_bias, {})
