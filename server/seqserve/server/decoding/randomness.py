"""Counter-based randomness: the number drawn at a position is a pure function of seed, sample and position.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), as numpy has it.
"""

from __future__ import annotations

import secrets

import numpy as np
import numpy.typing as npt

_BLOCK = 64  # positions drawn ahead


class Uniforms:
    """The numbers u of one sample: u(position), the same in whatever order they are asked for."""

    def __init__(self, seed: int, sample: int = 0) -> None:
        """Args: seed and sample, each in [0, 2**64)."""
        self._key = np.array([seed, sample], dtype=np.uint64)
        self._start = 0
        self._numbers = np.empty(0)

    def run(self, position: int, count: int) -> npt.NDArray[np.float64]:
        """The numbers for ``count`` tokens from ``position`` on: float64 (count,), in [0, 1), multiples of 2**-53."""
        offset = position - self._start
        if offset < 0 or offset + count > len(self._numbers):
            self._start = position - position % 4  # one count of Philox gives four numbers
            philox = np.random.Philox(key=self._key, counter=self._start // 4)
            self._numbers = np.random.Generator(philox).random(_BLOCK + count)
            offset = position - self._start
        return self._numbers[offset : offset + count]


def draw_seed() -> int:
    """A seed for a request that brought none, in [0, 2**63): every language's signed integers hold it."""
    return secrets.randbits(63)
