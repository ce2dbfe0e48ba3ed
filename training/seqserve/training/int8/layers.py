"""Layers with 8-bit integer products.

Weights are stored as floats that are integer multiples of a scale, with one scale per output. The other factor of a
product is rounded to multiples of a separate scale. The products of these floats equal those of the integers, except
for the rounding of float32.

Axes: T time, B batch, K terms of a product, N outputs of a product, H hidden units, V rows of a table.
"""

# pyright: reportUnknownMemberType=false
# The annotations of torch don't type the device of its layers.

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from seqserve.training.int8.rounding import LEVELS, column_scales, rounded, row_scales
from seqserve.training.layers.formulas import Formula
from seqserve.training.layers.loop import ON_TENSORS, LoopLayer, over_time


class Rounding(nn.Module):
    """Rounds numbers to multiples of a scale, which is fixed or computed per row.

    Attributes:
        bound: Maximum absolute value of the numbers, for a fixed scale; None: the maximum of each row.
        shake: Maximum random perturbation before rounding, as a fraction of a step; simulates less exact numbers.
    """

    def __init__(self, bound: float | None) -> None:
        super().__init__()
        self.bound = bound
        self.perturbation = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Rounds ``x`` of any shape; rows are along the last axis."""
        scale = row_scales(x) if self.bound is None else self.bound / LEVELS
        steps = x / scale
        if self.perturbation:
            steps = steps + (2 * torch.rand_like(steps) - 1) * self.perturbation
        return steps.round().clamp(-LEVELS - 1, LEVELS) * scale


class Int8Linear(nn.Linear):
    """Computes x W^T + b, with W and x rounded."""

    def __init__(self, weight_NK: Tensor, bias_N: Tensor, bound: float | None) -> None:
        """Rounds the weight.

        Args:
            weight_NK: float (N, K).
            bias_N: float (N), not rounded.
            bound: Maximum absolute value of x, as in ``Rounding``.
        """
        super().__init__(weight_NK.shape[1], weight_NK.shape[0], device="meta")
        scales_N = column_scales(weight_NK)
        self.weight = fixed(rounded(weight_NK, scales_N))
        self.bias = fixed(bias_N)
        self.scales = fixed(scales_N)
        self.rounding = Rounding(bound)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, torch names it so
        """Maps ``input`` (..., K) to (..., N)."""
        return nn.functional.linear(self.rounding(input), self.weight, self.bias)


class Int8Embedding(nn.Embedding):
    """An embedding table whose rows are rounded with separate scales."""

    def __init__(self, table_VE: Tensor) -> None:
        """Rounds the rows of ``table_VE``, float (V, E)."""
        super().__init__(table_VE.shape[0], table_VE.shape[1], device="meta")
        scales_V1 = row_scales(table_VE)
        self.weight = fixed(rounded(table_VE, scales_V1))
        self.scales = fixed(scales_V1)


class ProductTable(nn.Embedding):
    """Precomputed W x + b of the first layer for every token, in float32, with the directions side by side."""

    def __init__(self, table_VN: Tensor) -> None:
        super().__init__(table_VN.shape[0], table_VN.shape[1], device="meta")
        self.weight = fixed(table_VN.float())


class TableLookup(nn.Module):
    """Selects the columns of one of two directions from the rows of a ``ProductTable``, instead of a product."""

    def __init__(self, begin: int, end: int) -> None:
        super().__init__()
        self.begin, self.end = begin, end

    def forward(self, x_TBN: Tensor) -> Tensor:
        """Returns the columns of this direction."""
        return x_TBN[..., self.begin : self.end]


class Int8Direction(nn.Module):
    """One direction of a layer: ``layers.loop.Direction`` with rounded products."""

    def __init__(
        self, formula: Formula, from_x: nn.Module, weights: Mapping[str, Tensor], vectors: Mapping[str, Tensor]
    ) -> None:
        """Rounds the recurrent weights.

        Args:
            formula: Formula of the cell.
            from_x: Module that computes W x + b from the input.
            weights: Recurrent weights by name, each (N, H).
            vectors: Weights with one number per unit, by name (H); not rounded.
        """
        super().__init__()
        self.formula = formula
        self.from_x = from_x
        scales = {name: column_scales(weight) for name, weight in weights.items()}
        self.weights = nn.ParameterDict({name: fixed(rounded(weights[name], scales[name])) for name in weights})
        self.scales = nn.ParameterDict({name: fixed(scale) for name, scale in scales.items()})
        self.vectors = nn.ParameterDict({name: fixed(vector) for name, vector in vectors.items()})
        self.rounding = Rounding(1.0)

    @property
    def hidden_size(self) -> int:
        """Number of hidden units, H."""
        width: int = next(iter(self.weights.values())).shape[1]
        return width

    def forward(self, x_TBI: Tensor, counts_TB1: Tensor | None, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Runs over time. Arguments and results as in ``Direction.forward``."""

        def product(rows: Tensor, weight: Tensor) -> Tensor:
            return nn.functional.linear(self.rounding(rows), weight)

        weights = dict(self.weights.items()) | dict(self.vectors.items())
        on = replace(ON_TENSORS, product=product)
        return over_time(self.formula, on, self.from_x(x_TBI), counts_TB1, state, weights)


class Int8Layer(LoopLayer):
    """One layer, unidirectional or bidirectional."""

    def __init__(self, directions: Iterable[Int8Direction]) -> None:
        super().__init__(directions)

    def direction(self, index: int) -> Int8Direction:
        """Returns direction 0 (forward) or 1 (backward)."""
        return cast("Int8Direction", self.directions[index])


def fixed(tensor: Tensor) -> nn.Parameter:
    """Creates a parameter without gradient."""
    return nn.Parameter(tensor.detach().clone(), requires_grad=False)
