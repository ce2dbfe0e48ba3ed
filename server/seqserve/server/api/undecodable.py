"""Requests that protobuf cannot decode: refused like any other invalid request, with one line in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, NoReturn

from google.protobuf.message import DecodeError

from seqserve.server.errors import InvalidFieldError

log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0


class UndecodableMessage:
    """Takes the place of a request that could not be decoded.

    gRPC answers an exception of a deserializer by itself, with UNKNOWN, without a reason, and with a traceback in the
    log. This object reaches the handler instead, which refuses it.
    """

    def __init__(self, cause: DecodeError) -> None:
        self._cause = str(cause)

    def error(self) -> InvalidFieldError:
        """Returns the error for the caller."""
        return InvalidFieldError(
            f"the request is not a valid message: {self._cause}; check that caller and server use the same contract"
        )

    def WhichOneof(self, name: str) -> NoReturn:  # noqa: N802 - the name is protobuf's
        """Raises `error`. Readers of a stream ask every message for its kind, so that valid messages cost nothing.

        Raises:
            InvalidFieldError: Always.
        """
        del name
        raise self.error()


class UndecodableLog:
    """Logs undecodable requests: at most one line every 10 s, with the number of those in between."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Args: now: The clock, in seconds."""
        self._now = now
        self._next_s = float("-inf")
        self._suppressed = 0

    def write(self, method: str, cause: DecodeError) -> None:
        """Writes a line about a request, or counts it."""
        if self._now() < self._next_s:
            self._suppressed += 1
            return
        others = f" ({self._suppressed} more since the last line)" if self._suppressed else ""
        log.warning("undecodable request of %s: %s%s", method, cause, others)
        self._next_s, self._suppressed = self._now() + _LOG_EVERY_S, 0


def tolerant_deserializer(
    deserialize: Callable[[bytes], Any] | None, method: str, undecodable_log: UndecodableLog
) -> Callable[[bytes], Any] | None:
    """Wraps the deserializer of a method: it returns an UndecodableMessage where that one raises DecodeError."""
    if deserialize is None:
        return None

    def deserialize_or_report(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError as error:
            undecodable_log.write(method, error)
            return UndecodableMessage(error)

    return deserialize_or_report
