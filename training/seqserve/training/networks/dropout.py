"""Dropout of units, fresh at every step or locked for a sequence, and of whole tokens."""

import torch
from torch import Tensor, nn


class LockedDropout(nn.Module):
    """Drops the same units at all steps of a sequence (Gal and Ghahramani 2016, section 4)."""

    def __init__(self, part: float) -> None:
        """``part``: of the units that is dropped; in [0, 1)."""
        super().__init__()
        self.part = part

    def forward(self, x_TBH: Tensor) -> Tensor:
        """The rest scaled up while training, everything as it is otherwise: (T, B, H)."""
        if not self.training or not self.part:
            return x_TBH
        keep_1BH = (torch.rand_like(x_TBH[:1]) >= self.part).to(x_TBH.dtype)
        return x_TBH * keep_1BH / (1 - self.part)


class TokenDropout(nn.Module):
    """Drops whole tokens: their features become zeros, those of the rest are scaled up."""

    def __init__(self, part: float) -> None:
        """``part``: of the tokens that is dropped; in [0, 1)."""
        super().__init__()
        self.part = part

    def forward(self, x_TBH: Tensor) -> Tensor:
        """Of the same shape (T, B, H); as it is unless training."""
        if not self.training or not self.part:
            return x_TBH
        keep_TB1 = (torch.rand_like(x_TBH[..., :1]) >= self.part).to(x_TBH.dtype)
        return x_TBH * keep_TB1 / (1 - self.part)


def dropout(part: float, *, locked: bool) -> nn.Module:
    """The dropout that a configuration asks for."""
    return LockedDropout(part) if locked else nn.Dropout(part)
