"""The way to a server, for asyncio: the counterpart of `transport`, with the same address, options and exceptions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from seqserve.client.errors import CallCancelledError
from seqserve.client.patience import Patience, answered
from seqserve.client.transport import (
    CHANNEL_OPTIONS,
    complete_address,
    error_from_call,
    metadata_of,
    silence_error,
)

Request = TypeVar("Request")
Response = TypeVar("Response")


def self_was_cancelled() -> bool:
    """Whether a CancelledError is meant for the running task; grpc also raises one when only its call was cancelled."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def ended_error(target: str) -> CallCancelledError:
    """The exception for a call that was cancelled, but not by its reader."""
    return CallCancelledError(
        f"the call to {target} was cancelled: the client was closed, or something on the way ended it",
        code=grpc.StatusCode.CANCELLED,
    )


class AsyncMessages(Generic[Response]):
    """The answers of one streaming call, read one by one."""

    def __init__(
        self,
        call: grpc.aio.UnaryStreamCall[Any, Response] | grpc.aio.StreamStreamCall[Any, Response],
        *,
        target: str,
        silence_s: float | None,
        deadline_s: float | None,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        """Args: on_answer: called when the server has answered: with a message, or with a failure of its own."""
        self._call = call
        self._on_answer = on_answer
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
            message = await self._next()
        except TimeoutError as timeout:
            self._call.cancel()
            raise silence_error(self._target, self._silence_s or 0.0) from timeout
        except grpc.RpcError as rpc_error:
            error = error_from_call(rpc_error, target=self._target, deadline_s=self._deadline_s)
            if answered(error):
                self._on_answer()
            raise error from rpc_error
        except asyncio.CancelledError as cancelled:
            self._call.cancel()
            if self_was_cancelled():
                raise
            if self._cancelled:
                return None
            raise ended_error(self._target) from cancelled
        self._on_answer()
        return message

    def cancel(self) -> None:
        """End the call on both sides; once it has ended this does nothing."""
        self._cancelled = True
        self._call.cancel()

    async def _next(self) -> Response | None:
        async with asyncio.timeout(self._silence_s):
            return await anext(self._responses, None)


class AsyncConversation(AsyncMessages[Response], Generic[Request, Response]):
    """A call in which both sides talk: written and read at once, by a task each.

    It is the server's turn until its first message, and after the caller's last; only then does the time-out run.
    """

    def __init__(
        self,
        call: grpc.aio.StreamStreamCall[Request, Response],
        *,
        target: str,
        silence_s: float | None,
        on_answer: Callable[[], None],
    ) -> None:
        """Args: silence_s: longest wait for each next message, while it is the server's turn; None for no limit."""
        super().__init__(call, target=target, silence_s=silence_s, deadline_s=None, on_answer=on_answer)
        self._writing = call
        self._limit: asyncio.Timeout | None = None  # of the read in progress
        self._owed = True
        self._ended = False

    async def write(self, request: Request) -> bool:
        """Send a message, when the server has room for it. Returns: False if the call has ended; a read tells how."""
        return await self._say(self._writing.write(request))

    async def end_input(self) -> None:
        """Say that nothing more comes."""
        self._ended = self._owed = True
        if self._limit is not None and self._silence_s is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._silence_s)
        await self._say(self._writing.done_writing())

    async def _next(self) -> Response | None:
        async with asyncio.timeout(self._silence_s if self._owed else None) as limit:
            self._limit = limit
            try:
                message = await anext(self._responses, None)
            finally:
                self._limit = None
        self._owed = self._ended
        return message

    async def _say(self, saying: Awaitable[None]) -> bool:
        try:
            await saying
        except (grpc.RpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            return False
        except asyncio.CancelledError:
            if self_was_cancelled():
                raise
            return False
        return True


class AsyncTransport:
    """Calls over one channel, which is opened with the first call and belongs to the event loop of that."""

    def __init__(self, target: str, channel: grpc.aio.Channel | None, principal: str | None = None) -> None:
        """Args: principal: who calls; sessions belong to it."""
        self.target = complete_address(target)
        self._reached = False
        self._metadata = metadata_of(principal)
        self._owns_channel = channel is None
        self._channel = channel
        self._closed = False
        self._pauses: set[asyncio.Event] = set()

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
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout_s: float | None,
        patience: Patience | None = None,
    ) -> Response:
        """Ask and wait for the answer. Arguments and exceptions as in `Transport.call`."""
        while True:
            self._require_open()
            try:
                answer = await method(request, timeout=timeout_s, metadata=self._metadata)
            except grpc.RpcError as rpc_error:
                error = error_from_call(rpc_error, target=self.target, deadline_s=timeout_s)
                self._reached |= answered(error)
                pause_s = patience.pause_s(error) if patience is not None and self.worth_retrying else None
                if pause_s is None:
                    raise error from rpc_error
                await self.pause(pause_s, asyncio.Event())
            except asyncio.CancelledError as cancelled:
                if self_was_cancelled():
                    raise
                raise ended_error(self.target) from cancelled
            else:
                self._reached = True
                return answer

    def open(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        silence_s: float | None,
        deadline_s: float | None,
        left_s: float | None,
    ) -> AsyncMessages[Response]:
        """Ask once for a stream of answers; failures come with the first read. Arguments as in `Transport.open`."""
        self._require_open()
        call = method(request, timeout=left_s, metadata=self._metadata)
        return AsyncMessages(
            call, target=self.target, silence_s=silence_s, deadline_s=deadline_s, on_answer=self._note_answer
        )

    def converse(
        self, method: grpc.aio.StreamStreamMultiCallable[Request, Response], *, silence_s: float | None
    ) -> AsyncConversation[Request, Response]:
        """Begin a call in which both sides talk. Arguments and exceptions as in `Transport.converse`."""
        self._require_open()
        call = method(metadata=self._metadata)
        return AsyncConversation(call, target=self.target, silence_s=silence_s, on_answer=self._note_answer)

    async def close(self) -> None:
        """Cancel what runs, end what pauses, and close the channel, unless it is the caller's own."""
        self._closed = True
        for pause in self._pauses:
            pause.set()
        if self._owns_channel and self._channel is not None:
            await self._channel.close()

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed")

    @property
    def worth_retrying(self) -> bool:
        """Whether a call that broke may be made again: a wrong address, which never answered, is told at once."""
        return self._reached and not self._closed

    async def pause(self, pause_s: float, woken: asyncio.Event) -> None:
        """Wait for so long, or until ``woken`` is set or the client is closed."""
        self._pauses.add(woken)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await woken.wait()
        finally:
            self._pauses.discard(woken)

    def _note_answer(self) -> None:
        self._reached = True
