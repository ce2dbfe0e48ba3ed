"""Responses that do not fit into a message: refused before the work if that is certain, always before a commit."""

from __future__ import annotations

from google.protobuf.message import Message

from seqserve.server.errors import InputTooLongError
from seqserve.server.settings import LimitSettings

_CANDIDATE_BYTES_MIN, _TAG_BYTES_MIN, _LABEL_SCORE_BYTES_MIN = 12, 10, 7


def check_logprobs_fit(tokens: int, top: int, limits: LimitSettings, field: str) -> None:
    """Raises InputTooLongError if the log-probabilities of that number of tokens cannot fit into one response.

    Args:
        tokens: Tokens that are reported.
        top: Most likely tokens that are reported with each.
        limits: Limits of the server.
        field: The field that requests them.
    """
    _check(tokens * (1 + top) * _CANDIDATE_BYTES_MIN, limits, field, at_least=True)


def check_tags_fit(tokens: int, top: int, limits: LimitSettings, field: str) -> None:
    """Raises InputTooLongError if the tags of that number of tokens cannot fit into one response.

    Args:
        tokens: Tokens that are tagged.
        top: Most likely labels that are reported with each.
        limits: Limits of the server.
        field: The field that requests the labels.
    """
    _check(tokens * (_TAG_BYTES_MIN + top * _LABEL_SCORE_BYTES_MIN), limits, field, at_least=True)


def check_fits(response: Message, limits: LimitSettings, field: str) -> None:
    """Raises InputTooLongError if a response is larger than a message may be: gRPC would end the call without a reason.

    Args:
        response: To be sent.
        limits: Limits of the server.
        field: The field of the request that makes it large.
    """
    _check(response.ByteSize(), limits, field, at_least=False)


def _check(size: int, limits: LimitSettings, field: str, *, at_least: bool) -> None:
    if size > limits.message_bytes_max:
        raise InputTooLongError(
            f"the response would have {'at least ' if at_least else ''}{size} bytes, the server sends at most "
            f"{limits.message_bytes_max} in one message (limits.message_bytes_max); lower {field}, or send less input",
            field=field,
            metadata={"count": str(size), "limit": str(limits.message_bytes_max)},
        )
