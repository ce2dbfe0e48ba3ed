"""The size of requests: a server refuses larger ones before it reads them."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf.message import Message

from seqserve.client.errors import InputTooLongError

REQUEST_BYTES_MAX: Final = 17 * 1024 * 1024
"""Default of the limit: the default of the server's setting ``limits.message_bytes_max``."""


def check_size(request: Message, limit_bytes: int) -> None:
    """Checks that a request fits into a message.

    Args:
        request: The request.
        limit_bytes: Maximum size, in bytes.

    Raises:
        InputTooLongError: It is larger.
    """
    if (size_bytes := request.ByteSize()) > limit_bytes:
        raise InputTooLongError(
            f"the request must have at most {limit_bytes:,} bytes, got {size_bytes:,}: send fewer texts at once, as "
            "tag_many and its like do, or raise request_bytes_max together with the server's limits.message_bytes_max",
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="ERROR_REASON_INPUT_TOO_LONG",
            metadata={"count": str(size_bytes), "limit": str(limit_bytes)},
        )
