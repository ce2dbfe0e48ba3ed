"""Sends what a source gives into a call, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc.aio

from seqserve.client._async.concurrency import AsyncSource, each
from seqserve.client._async.messages import AsyncConversation, self_was_cancelled
from seqserve.client._async.transport import AsyncTransport
from seqserve.client.core.stream import StreamCodec


class AsyncInputPump:
    """Reads a source in its own task, as fast as the server takes the messages.

    Attributes:
        error: The exception that the source raised; None while it has raised none.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        method: Callable[[], grpc.aio.StreamStreamMultiCallable[Any, Any]],
        codec: StreamCodec[Any, Any, Any],
        source: AsyncSource[object],
        read_timeout_s: float | None,
    ) -> None:
        """Prepares the call; ``open`` makes it.

        Args:
            transport: Connection to the server.
            method: Returns the method to call.
            codec: Messages for the items of the source.
            source: Where the items come from.
            read_timeout_s: Longest wait for each next answer while it is the server's turn, in seconds; None: no limit.
        """
        self.error: BaseException | None = None
        self._transport = transport
        self._method = method
        self._codec = codec
        self._source = source
        self._read_timeout_s = read_timeout_s
        self._sending: asyncio.Task[None] | None = None

    def open(self) -> AsyncConversation[Any, Any]:
        """Makes the call and starts to read the source."""
        call = self._transport.converse(self._method(), read_timeout_s=self._read_timeout_s)
        self._sending = asyncio.create_task(self._send(call))
        return call

    def cancel(self) -> None:
        """Stops reading the source."""
        # A second cancellation would disturb the source's cleanup.
        if self._sending is not None and not self._sending.cancelling():
            self._sending.cancel()

    async def close(self) -> None:
        """Waits until the source is no longer read: it may have something to clean up."""
        if self._sending is not None:
            await asyncio.wait((self._sending,))

    async def _send(self, call: AsyncConversation[Any, Any]) -> None:
        """Sends the whole source. If the call has ended, the reader reports how."""
        try:
            await call.write(self._codec.opening)
            async with contextlib.aclosing(each(self._source)) as items:
                async for item in items:
                    for message in self._codec.messages(item):
                        if not await call.write(message):
                            return
            await call.write(self._codec.ending)
        except BaseException as error:
            if self_was_cancelled():
                raise
            self.error = error  # the reader raises it, whatever it is
            call.cancel()
        else:
            await call.end_input()
