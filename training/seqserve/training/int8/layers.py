"""Layers whose products are made of 8-bit integers.

Their weights are kept as floats that are whole multiples of a scale, one scale for each output; what is multiplied with
them is rounded to multiples of its own scale. The products of these floats are those of the integers, but for the
rounding of float32.

Axes: T time, B batch, K terms of a product, N outputs of a product, H hidden units, V rows of a table.
"""

# pyright: reportUnknownMemberType=false
# torch's annotations leave the device of its layers open.

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from seqserve.training.int8.rounding import LEVELS, column_scales, rounded, row_scales
from seqserve.training.layers.formulas import Formula
from seqserve.training.layers.loop import ON_TENSORS, LoopLayer, over_time


class Rounding(nn.Module):
    """Rounds numbers to multiples of a scale: a fixed one, or one for each row.

    Attributes:
        bound: greatest absolute value that the numbers can have, for a fixed scale; None: each row's own greatest.
        shake: up to this part of a step is added at random before rounding: as if the numbers had been less exact.
    """

    def __init__(self, bound: float | None) -> None:
        super().__init__()
        self.bound = bound
        self.shake = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Round ``x`` of any shape; its rows are along the last axis."""
        scale = row_scales(x) if self.bound is None else self.bound / LEVELS
        steps = x / scale
        if self.shake:
            steps = steps + (2 * torch.rand_like(steps) - 1) * self.shake
        return steps.round().clamp(-LEVELS - 1, LEVELS) * scale


class Int8Linear(nn.Linear):
    """x W^T + b, with W and x rounded."""

    def __init__(self, weight_NK: Tensor, bias_N: Tensor, bound: float | None) -> None:
        """Round ``weight_NK``; ``bound`` as ``Rounding`` has it for x."""
        super().__init__(weight_NK.shape[1], weight_NK.shape[0], device="meta")
        scales_N = column_scales(weight_NK)
        self.weight = fixed(rounded(weight_NK, scales_N))
        self.bias = fixed(bias_N)
        self.scales = fixed(scales_N)
        self.rounding = Rounding(bound)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, torch names it so
        """``input`` (..., K) to (..., N)."""
        return nn.functional.linear(self.rounding(input), self.weight, self.bias)


class Int8Embedding(nn.Embedding):
    """A table whose rows are rounded, each with a scale of its own."""

    def __init__(self, table_VE: Tensor) -> None:
        """Round ``table_VE``."""
        super().__init__(table_VE.shape[0], table_VE.shape[1], device="meta")
        scales_V1 = row_scales(table_VE)
        self.weight = fixed(rounded(table_VE, scales_V1))
        self.scales = fixed(scales_V1)


class ProductTable(nn.Embedding):
    """The first layer's W x + b of every token, made beforehand, in float32: the directions side by side."""

    def __init__(self, table_VN: Tensor) -> None:
        super().__init__(table_VN.shape[0], table_VN.shape[1], device="meta")
        self.weight = fixed(table_VN.float())


class TableLookup(nn.Module):
    """What one of two directions takes of the rows of a ``ProductTable``, in place of a product."""

    def __init__(self, begin: int, end: int) -> None:
        super().__init__()
        self.begin, self.end = begin, end

    def forward(self, x_TBN: Tensor) -> Tensor:
        """The columns of one direction."""
        return x_TBN[..., self.begin : self.end]


class Int8Direction(nn.Module):
    """One direction of a layer: ``layers.loop.Direction`` with its products rounded."""

    def __init__(
        self, formula: Formula, from_x: nn.Module, weights: Mapping[str, Tensor], vectors: Mapping[str, Tensor]
    ) -> None:
        """Compute ``formula``.

        Args:
            formula: of the cell.
            from_x: gives W x + b of what goes in.
            weights: of the state, by name (N, H) each; they are rounded.
            vectors: one number a unit, by name (H).
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
        """H."""
        width: int = next(iter(self.weights.values())).shape[1]
        return width

    def forward(self, x_TBI: Tensor, counts_TB1: Tensor | None, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Arguments and results as ``Direction.forward`` has them."""

        def product(rows: Tensor, weight: Tensor) -> Tensor:
            return nn.functional.linear(self.rounding(rows), weight)

        weights = dict(self.weights.items()) | dict(self.vectors.items())
        on = replace(ON_TENSORS, product=product)
        return over_time(self.formula, on, self.from_x(x_TBI), counts_TB1, state, weights)


class Int8Layer(LoopLayer):
    """One layer, in one direction or both."""

    def __init__(self, directions: Iterable[Int8Direction]) -> None:
        super().__init__(directions)

    def direction(self, index: int) -> Int8Direction:
        """Direction 0 (forward) or 1 (backward)."""
        return cast("Int8Direction", self.directions[index])


def fixed(tensor: Tensor) -> nn.Parameter:
    """A parameter that is not learned."""
    return nn.Parameter(tensor.detach().clone(), requires_grad=False)
