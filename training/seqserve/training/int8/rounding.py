"""Which multiples of which scale stand for numbers.

Hidden states are rounded to 1/127 of their greatest possible value and stored as unsigned bytes around 128. Weights are
signed bytes, with one scale for each output of a product.

Processors with AVX2 or AVX-512 and without VNNI multiply bytes in pairs (vpmaddubsw) and cut sums of two products off
at 32,767. A state's byte is at most 255, so the magnitudes of two weights that meet in a pair may have a sum of at most
128: 255 * 128 = 32,640. Scales are chosen for that, which costs little of the 8 bits, for the greatest weight of a
column seldom has a great one beside it. So a product has the same bits on every processor.

Axes: K terms of a product, N outputs of a product.
"""

import torch
from torch import Tensor, nn

LEVELS = 127
"""Steps from 0 to the greatest value."""


def column_scales(weight_NK: Tensor) -> Tensor:
    """The scale of each output of a product (N, 1): a pair of its weights is at most LEVELS steps together."""
    magnitudes = nn.functional.pad(weight_NK.detach().abs(), (0, weight_NK.shape[1] % 2))
    greatest_N1 = (magnitudes[:, 0::2] + magnitudes[:, 1::2]).amax(1, keepdim=True)
    return _positive(greatest_N1) / LEVELS


def row_scales(x: Tensor) -> Tensor:
    """The scale of each row along the last axis, (..., 1): its greatest absolute value is LEVELS steps."""
    return _positive(x.abs().amax(-1, keepdim=True)) / LEVELS


def rounded(numbers: Tensor, scales: Tensor) -> Tensor:
    """The nearest multiples of ``scales``."""
    return (numbers / scales).round() * scales


def _positive(greatest: Tensor) -> Tensor:
    """With 1 where all numbers are 0, for any scale will do there."""
    return torch.where(greatest > 0, greatest, torch.ones_like(greatest))
