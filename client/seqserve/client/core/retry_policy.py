"""The policy for retrying calls that broke. Pure: it computes the pauses, and others wait."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

import grpc

from seqserve.client.errors import DeadlineError, QueueFullError, SeqserveError, UnavailableError, UnreachableError

RESUME_S_DEFAULT: Final = 30.0
_PAUSE_S, _PAUSE_S_MAX = 0.05, 2.0

_BROKEN: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED})
"""Codes of gRPC and proxies for a broken connection or stream; errors of a seqserve server carry a reason."""

_REMOVED: Final = "Stream removed"  # how gRPC says, with UNKNOWN, that a stream ended without a status


def broke(error: SeqserveError) -> bool:
    """Whether a call failed because its server went away; a retry may reach it, or another replica."""
    bare = error.code in _BROKEN or (error.code is grpc.StatusCode.UNKNOWN and _REMOVED in error.message)
    return isinstance(error, UnavailableError) or (bare and not error.reason)


def answered(error: SeqserveError) -> bool:
    """Whether the failure of a call shows that a server is, or was, at the address."""
    return not isinstance(error, UnreachableError | DeadlineError)


class RetryPolicy:
    """Decides whether and when one call is retried.

    The pause doubles with every attempt from 0.05 s to 2 s, and is drawn from its second half, so that callers who
    were cut off together do not come back together; a server's own wish goes before.
    """

    def __init__(
        self,
        limit_s: float,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        *,
        waits_for_room: bool = False,
    ) -> None:
        """Begins with no attempt.

        Args:
            limit_s: How long a call is retried after a break, in seconds; 0: no retry.
            clock: The monotonic time, in seconds.
            chance: A random number in [0, 1).
            waits_for_room: Retry a call that the server did not admit because its queue is full.

        Raises:
            ValueError: If the limit is below 0.
        """
        if not limit_s >= 0:
            raise ValueError(f"resume_s must be 0 s or more, got {limit_s:g} (0: no retry)")
        self._limit_s = limit_s
        self._clock = clock
        self._chance = chance
        self._waits_for_room = waits_for_room
        self._since_s: float | None = None
        self._attempts = 0

    @property
    def tried_again(self) -> bool:
        """Whether the call was retried since its last progress."""
        return self._attempts > 0

    def progress(self) -> None:
        """The call made progress: restarts the time limit and the pauses."""
        self._since_s, self._attempts = None, 0

    def pause_s(self, error: SeqserveError) -> float | None:
        """The pause before the next attempt, in seconds; None if the error is to be raised."""
        waits_in_line = (self.tried_again or self._waits_for_room) and isinstance(
            error, QueueFullError
        )  # it had been admitted before
        if not (broke(error) or waits_in_line):
            return None
        now_s = self._clock()
        self._since_s = now_s if self._since_s is None else self._since_s
        pause_s: float = min(_PAUSE_S * 2**self._attempts, _PAUSE_S_MAX) * (0.5 + 0.5 * self._chance())
        pause_s = max(pause_s, error.retry_after_s or 0.0)
        if now_s + pause_s > self._since_s + self._limit_s:
            return None
        self._attempts += 1
        return pause_s
