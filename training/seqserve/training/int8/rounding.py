"""Scales and rounding of int8.

Hidden states are rounded to 1/127 of their maximum possible value and stored as unsigned bytes around 128. Weights are
signed bytes with one scale per output of a product.

Processors with AVX2 or AVX-512 and without VNNI multiply bytes in pairs (vpmaddubsw) and saturate sums of two products
at 32,767. The byte of a state is at most 255, so the magnitudes of the two weights of a pair may sum to at most 128:
255 * 128 = 32,640. The scales ensure that. This costs little of the 8 bits, because the largest weight of a column
rarely has a large neighbor. A product therefore has the same bits on every processor.

Axes: K terms of a product, N outputs of a product.
"""

import torch
from torch import Tensor, nn

LEVELS = 127
"""Number of steps from 0 to the maximum value."""


def column_scales(weight_NK: Tensor) -> Tensor:
    """Returns the scale of each output (N, 1), such that each pair of weights sums to at most LEVELS steps."""
    magnitudes = nn.functional.pad(weight_NK.detach().abs(), (0, weight_NK.shape[1] % 2))
    greatest_N1 = (magnitudes[:, 0::2] + magnitudes[:, 1::2]).amax(1, keepdim=True)
    return _positive(greatest_N1) / LEVELS


def row_scales(x: Tensor) -> Tensor:
    """Returns the scale of each row along the last axis (..., 1): its maximum absolute value has LEVELS steps."""
    return _positive(x.abs().amax(-1, keepdim=True)) / LEVELS


def rounded(numbers: Tensor, scales: Tensor) -> Tensor:
    """Rounds to the nearest multiples of ``scales``."""
    return (numbers / scales).round() * scales


def _positive(greatest: Tensor) -> Tensor:
    """Replaces 0 by 1: if all numbers are 0, any scale is valid."""
    return torch.where(greatest > 0, greatest, torch.ones_like(greatest))
