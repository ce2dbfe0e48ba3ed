"""The messages of a client stream: a config, then input until it ends or none arrives in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic

from seqserve.server.api.idle_timeout import IdleTimeout
from seqserve.server.api.stream_codec import MessageT
from seqserve.server.engine.stream_handle import StreamHandle
from seqserve.server.errors import InternalError, InvalidFieldError, ServeError
from seqserve.v1 import common_pb2 as common

# For some milliseconds a call that was cancelled looks like one whose caller has closed its side. Within this time the
# reading is cancelled too, and nothing is committed for a caller that left. Who sends `end` does not wait for it.
_HALF_CLOSED_S = 0.05


class ClientStream(Generic[MessageT]):
    """The messages of one client stream."""

    def __init__(self, messages: AsyncIterator[MessageT]) -> None:
        self.reason: common.StreamEnd = common.STREAM_END_INPUT  # why the input ended, once it has
        self._messages = aiter(messages)  # of grpc.aio: the generator itself, not what asks it for each message

    async def receive_config(self, wait_s: float) -> MessageT:
        """Returns the first message, which must be a config.

        Raises: InvalidFieldError if the message isn't a config, or none arrives within ``wait_s``.
        """
        try:
            async with asyncio.timeout(wait_s):
                message = await anext(self._messages, None)
        except TimeoutError:
            raise InvalidFieldError(
                f"no first message came within {wait_s:g} s; send one with config", field="config"
            ) from None
        if message is None:
            raise InvalidFieldError("the stream has no message; the first one is config", field="config")
        if (kind := message.WhichOneof("message")) != "config":
            raise InvalidFieldError(
                f"the stream begins with {kind or 'an empty message'}; its first message is config", field="config"
            )
        return message

    async def receive_input(self, idle_s: float) -> AsyncGenerator[tuple[str, MessageT]]:
        """Yields the messages after the first with their kinds, until the end or the idle timeout.

        See `reason`. Raises: InvalidFieldError for a second config, or an empty message.
        """
        idle_timeout = IdleTimeout(idle_s)
        try:
            while True:
                with idle_timeout:
                    message = await anext(self._messages, None)
                if message is None:
                    await asyncio.sleep(_HALF_CLOSED_S)
                    return
                kind = message.WhichOneof("message")
                if kind == "end":
                    return
                if kind is None:
                    raise InvalidFieldError(
                        "a message of the stream is empty; send input, flush or end", field="message"
                    )
                if kind == "config":
                    raise InvalidFieldError(
                        "config came a second time; a stream has one, at its beginning", field="config"
                    )
                yield kind, message
        except TimeoutError:
            self.reason = common.STREAM_END_IDLE
        finally:
            idle_timeout.close()


@asynccontextmanager
async def consume_input(stream: StreamHandle, reading: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Runs the coroutine that reads the caller's messages and pushes input, while the block writes the responses.

    The stream is finished when the reading ends. If it fails, its error comes after the responses to earlier input.
    When the block is left, the reading has ended and the stream is out of the engine.
    """
    task = asyncio.create_task(_finishing(stream, reading))
    try:
        yield
    finally:
        stream.cancel()
        task.cancel()
        await asyncio.wait([task])
        reading.close()  # which has not begun if the block was left at once


async def _finishing(stream: StreamHandle, reading: Coroutine[Any, Any, None]) -> None:
    try:
        await reading
    except ServeError as error:
        stream.finish(error)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        # Without this the caller would wait for ever: nobody else sees this task. Panics of libraries in Rust are
        # BaseExceptions.
        stream.finish(InternalError.logged("reading a stream", error))
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
    else:
        stream.finish()
