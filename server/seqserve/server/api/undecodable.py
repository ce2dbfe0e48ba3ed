"""Requests that protobuf cannot decode, or not at a bearable cost: refused, with one line in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, NoReturn

from google.protobuf.message import DecodeError

from seqserve.server.errors import InvalidFieldError

log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0
_LENGTH_DELIMITED, _CONTINUES = 2, 0x80


class UndecodableMessage:
    """Takes the place of a request that could not be decoded.

    gRPC answers an exception of a deserializer by itself, with UNKNOWN, without a reason, and with a traceback in the
    log. This object reaches the handler instead, which refuses it.
    """

    def __init__(self, error: InvalidFieldError) -> None:
        """Args: error: The error for the caller."""
        self._error = error

    def error(self) -> InvalidFieldError:
        """Returns the error for the caller."""
        return self._error

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

    def write(self, method: str, cause: Exception) -> None:
        """Writes a line about a request, or counts it."""
        if self._now() < self._next_s:
            self._suppressed += 1
            return
        others = f" ({self._suppressed} more since the last line)" if self._suppressed else ""
        log.warning("undecodable request of %s: %s%s", method, cause, others)
        self._next_s, self._suppressed = self._now() + _LOG_EVERY_S, 0


def count_fields(data: bytes, stop: int) -> int:
    """Counts the fields of a serialized message, without those of the messages in it.

    Args:
        data: The message.
        stop: The count ends when it is above this number, so that its cost is bounded.

    Returns:
        The number of fields up to ``stop`` + 1, or up to the first that is no length-delimited field.
    """
    at, size, count = 0, len(data), 0
    while at < size and count <= stop:
        if data[at] & 7 != _LENGTH_DELIMITED or data[at] >= _CONTINUES:  # no field that repeats in the contract
            break
        length, shift, at = 0, 0, at + 1
        while at < size:
            byte = data[at]
            length |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < _CONTINUES:
                break
        at += length
        count += 1
    return count


def tolerant_deserializer(
    deserialize: Callable[[bytes], Any] | None, method: str, undecodable_log: UndecodableLog, fields_max: int
) -> Callable[[bytes], Any] | None:
    """Wraps the deserializer of a method: it returns an UndecodableMessage where that one raises DecodeError.

    Messages with too many fields are not decoded: millions of empty ones, which compress to some kilobytes, would take
    hundreds of megabytes and stop the event loop for seconds.

    Args:
        deserialize: Deserializer of the method; None for none.
        method: Path of the method, for the log.
        undecodable_log: Takes a line for each refused message.
        fields_max: Maximum number of fields of a message.
    """
    if deserialize is None:
        return None

    def deserialize_or_report(data: bytes) -> Any:
        if len(data) > 2 * fields_max and count_fields(data, fields_max) > fields_max:  # a field has 2 bytes or more
            error = InvalidFieldError(f"the request must have at most {fields_max} fields; send several requests")
            undecodable_log.write(method, error)
            return UndecodableMessage(error)
        try:
            return deserialize(data)
        except DecodeError as cause:
            undecodable_log.write(method, cause)
            return UndecodableMessage(
                InvalidFieldError(
                    f"the request is not a valid message: {cause}; check that caller and server use the same contract"
                )
            )

    return deserialize_or_report
