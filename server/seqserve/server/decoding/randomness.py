"""Counter-based randomness: the number drawn at a position is a pure function of seed, sample and position.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), as numpy implements it.
"""

from __future__ import annotations

import secrets

import numpy as np
import numpy.typing as npt

_BLOCK = 64  # positions drawn ahead


class Uniforms:
    """The random numbers of one sample: u(position) does not depend on the order of calls."""

    def __init__(self, seed: int, sample: int = 0) -> None:
        """Makes the numbers of a sample.

        Args:
            seed: In [0, 2**64).
            sample: Index of the sample, in [0, 2**64).
        """
        self._key = np.array([seed, sample], dtype=np.uint64)
        self._start = 0
        self._numbers = np.empty(0)

    def run(self, position: int, count: int) -> npt.NDArray[np.float64]:
        """Returns the numbers of ``count`` positions: float64 (count,), in [0, 1), multiples of 2**-53."""
        offset = position - self._start
        if offset < 0 or offset + count > len(self._numbers):
            self._start = position - position % 4  # one value of Philox's counter gives four numbers
            philox = np.random.Philox(key=self._key, counter=self._start // 4)
            self._numbers = np.random.Generator(philox).random(_BLOCK + count)
            offset = position - self._start
        return self._numbers[offset : offset + count]


def draw_seed() -> int:
    """Draws a seed for a request without one, in [0, 2**63), which fits the signed integers of every language."""
    return secrets.randbits(63)
