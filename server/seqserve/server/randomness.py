"""Counter-based randomness: the number drawn at a position is a pure function of seed, sample and position.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), as numpy has it.
"""

from __future__ import annotations

import secrets

import numpy as np

_BLOCK = 64  # positions drawn at a time; a multiple of the four numbers that one count of Philox gives


class Uniforms:
    """The numbers u of one sample: u(position), the same in whatever order they are asked for."""

    def __init__(self, seed: int, sample: int = 0) -> None:
        """Args: seed and sample, each in [0, 2**64)."""
        self._key = np.array([seed, sample], dtype=np.uint64)
        self._start = -_BLOCK
        self._numbers: list[float] = []

    def at(self, position: int) -> float:
        """The number for the token at ``position``: float64 in [0, 1), a multiple of 2**-53."""
        if not 0 <= position - self._start < _BLOCK:
            self._start = position - position % _BLOCK
            philox = np.random.Philox(key=self._key, counter=self._start // 4)
            self._numbers = np.random.Generator(philox).random(_BLOCK).tolist()
        return self._numbers[position - self._start]


def draw_seed() -> int:
    """A seed for a request that brought none, in [0, 2**63): every language's signed integers hold it."""
    return secrets.randbits(63)
