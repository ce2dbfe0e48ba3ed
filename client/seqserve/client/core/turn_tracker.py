"""Whose turn it is in a call in which both sides send messages."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TypeVar

Request = TypeVar("Request")


class TurnTracker:
    """Tracks whose turn it is: the server's until its first message, and after the caller's last message."""

    def __init__(self) -> None:
        self.answered = False
        self._ended_s: float | None = None

    def note_end(self, requests: Iterator[Request]) -> Iterator[Request]:
        """Yields the same requests, and notes when they end."""
        yield from requests
        self._ended_s = time.monotonic()

    def server_turn_since_s(self) -> float | None:
        """Since when it is the server's turn; None while it is the caller's."""
        return self._ended_s if self.answered else -math.inf
