"""The clock of stores in this process: unix time that does not jump when the system's clock is set."""

from __future__ import annotations

import time


class SteadyClock:
    """Unix time in seconds, read from the system once and counted on steadily from then on.

    A session must not expire because an administrator or NTP sets the system's clock.
    """

    def __init__(self) -> None:
        self._offset_s = time.time() - _elapsed_s()

    def __call__(self) -> float:
        """Returns the unix time in seconds."""
        return self._offset_s + _elapsed_s()


def _elapsed_s() -> float:
    """Returns the seconds since some moment, including those in which the machine was suspended where that is known."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
