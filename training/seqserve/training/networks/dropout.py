"""Dropout of units, per step or locked for a sequence, and of whole tokens."""

import torch
from torch import Tensor, nn


class LockedDropout(nn.Module):
    """Drops the same units at all steps of a sequence (Gal and Ghahramani 2016, section 4)."""

    def __init__(self, part: float) -> None:
        """Creates the layer.

        Args:
            part: Fraction of the units to drop, in [0, 1).
        """
        super().__init__()
        self.part = part

    def forward(self, x_TBH: Tensor) -> Tensor:
        """Drops units and scales up the others during training; otherwise returns the input (T, B, H)."""
        if not self.training or not self.part:
            return x_TBH
        keep_1BH = (torch.rand_like(x_TBH[:1]) >= self.part).to(x_TBH.dtype)
        return x_TBH * keep_1BH / (1 - self.part)


class TokenDropout(nn.Module):
    """Drops whole tokens: their features become zeros, and those of the others are scaled up."""

    def __init__(self, part: float) -> None:
        """Creates the layer.

        Args:
            part: Fraction of the tokens to drop, in [0, 1).
        """
        super().__init__()
        self.part = part

    def forward(self, x_TBH: Tensor) -> Tensor:
        """Drops tokens during training; otherwise returns the input (T, B, H)."""
        if not self.training or not self.part:
            return x_TBH
        keep_TB1 = (torch.rand_like(x_TBH[..., :1]) >= self.part).to(x_TBH.dtype)
        return x_TBH * keep_TB1 / (1 - self.part)


def dropout(part: float, *, locked: bool) -> nn.Module:
    """Creates the dropout layer of a configuration."""
    return LockedDropout(part) if locked else nn.Dropout(part)
