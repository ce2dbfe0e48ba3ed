"""The way back to the caller of a stream, who may have stopped reading."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from seqserve.server.api.idle_timeout import IdleTimeout
from seqserve.server.errors import StreamIdleError

Write = Callable[[Message], Awaitable[None]]


@asynccontextmanager
async def response_writer(context: grpc.aio.ServicerContext[Any, Any], unread_s: float) -> AsyncGenerator[Write]:
    """What writes a stream's messages, each once there is room for it between server and caller.

    Args: unread_s: how long a message waits for that; then it raises StreamIdleError.
    """
    idle_timeout = IdleTimeout(unread_s)

    async def write(message: Message) -> None:
        try:
            with idle_timeout:
                await context.write(message)
        except TimeoutError:
            raise StreamIdleError(
                f"the caller has not read this stream's answers for {unread_s:g} s, so it was ended; read them as they "
                "come, or raise the server's limits.stream_unread_s"
            ) from None

    try:
        yield write
    finally:
        idle_timeout.close()
