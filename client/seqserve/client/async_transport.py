"""The way to a server, for asyncio: the counterpart of `transport`, with the same address, options and exceptions."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from seqserve.client.errors import CallCancelledError
from seqserve.client.transport import CHANNEL_OPTIONS, complete_address, error_from_call, silence_error

Request = TypeVar("Request")
Response = TypeVar("Response")


def self_was_cancelled() -> bool:
    """Whether a CancelledError is meant for the running task; grpc also raises one when only its call was cancelled."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def closed_error(target: str) -> CallCancelledError:
    """The exception for a call whose client was closed while it ran."""
    return CallCancelledError(
        f"the call to {target} was cancelled: the client was closed", code=grpc.StatusCode.CANCELLED
    )


class AsyncMessages(Generic[Response]):
    """The answers of one streaming call, read one by one."""

    def __init__(
        self,
        call: grpc.aio.UnaryStreamCall[Any, Response],
        *,
        target: str,
        silence_s: float | None,
        deadline_s: float | None,
    ) -> None:
        self._call = call
        self._responses = aiter(call)
        self._target = target
        self._silence_s = silence_s
        self._deadline_s = deadline_s
        self._cancelled = False

    async def read(self) -> Response | None:
        """The next message; None at the end, and after `cancel`.

        Raises:
            SeqserveError: if the call failed.
            asyncio.CancelledError: if the task that reads is cancelled; the call is then cancelled too.
        """
        try:
            async with asyncio.timeout(self._silence_s):
                return await anext(self._responses, None)
        except TimeoutError as error:
            self._call.cancel()
            raise silence_error(self._target, self._silence_s or 0.0) from error
        except grpc.RpcError as error:
            raise error_from_call(error, target=self._target, deadline_s=self._deadline_s) from error
        except asyncio.CancelledError as error:
            self._call.cancel()
            if self_was_cancelled():
                raise
            if self._cancelled:
                return None
            raise closed_error(self._target) from error

    def cancel(self) -> None:
        """End the call on both sides; once it has ended this does nothing."""
        self._cancelled = True
        self._call.cancel()


class AsyncTransport:
    """Calls over one channel, which is opened with the first call and belongs to the event loop of that."""

    def __init__(self, target: str, channel: grpc.aio.Channel | None) -> None:
        self.target = complete_address(target)
        self._owns_channel = channel is None
        self._channel = channel
        self._closed = False

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, opened now if it was not.

        Raises:
            RuntimeError: if the client is closed.
        """
        self._require_open()
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.target, CHANNEL_OPTIONS)
        return self._channel

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, *, timeout_s: float | None
    ) -> Response:
        """Ask once and wait for the answer.

        Raises:
            SeqserveError: if the call failed; DeadlineError if it took longer than ``timeout_s``.
            RuntimeError: if the client is closed.
        """
        self._require_open()
        try:
            return await method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise error_from_call(error, target=self.target, deadline_s=timeout_s) from error
        except asyncio.CancelledError as error:
            if self_was_cancelled():
                raise
            raise closed_error(self.target) from error

    def open(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        silence_s: float | None,
        deadline_s: float | None,
    ) -> AsyncMessages[Response]:
        """Ask once for a stream of answers; failures come with the first read. Arguments as in `Transport.open`."""
        self._require_open()
        call = method(request, timeout=deadline_s)
        return AsyncMessages(call, target=self.target, silence_s=silence_s, deadline_s=deadline_s)

    async def close(self) -> None:
        """Cancel what runs and close the channel, unless it is the caller's own."""
        self._closed = True
        if self._owns_channel and self._channel is not None:
            await self._channel.close()

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed")
