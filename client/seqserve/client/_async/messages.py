"""The answers of one streaming call for asyncio, and calls in which both sides talk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

import grpc
import grpc.aio

from seqserve.client.core.retry_policy import answered
from seqserve.client.core.status import error_from_call, read_timeout_error
from seqserve.client.errors import CallCancelledError

Request = TypeVar("Request")
Response = TypeVar("Response")
Result = TypeVar("Result")

_HIDDEN: Final = "Internal error from Core"
_HIDDEN_S_MAX: Final = 1.0


def self_was_cancelled() -> bool:
    """Whether a CancelledError is for the running task: grpc also raises one when only its call was cancelled."""
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
        read_timeout_s: float | None,
        deadline_s: float | None,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        """Wraps a running call.

        Args:
            call: The running call.
            target: Address of its server, for error messages.
            read_timeout_s: Longest wait for each next message, in seconds; None: no limit.
            deadline_s: Time that the whole call was given, in seconds, for error messages.
            on_answer: Called when the server has answered: with a message, or with an error.
        """
        self._call = call
        self._on_answer = on_answer
        self._responses = aiter(call)
        self._target = target
        self._read_timeout_s = read_timeout_s
        self._deadline_s = deadline_s
        self._cancelled = False

    async def read(self) -> Response | None:
        """The next message; None at the end, and after `cancel`.

        Raises:
            SeqserveError: If the call failed.
            asyncio.CancelledError: if the task that reads is cancelled; the call is then cancelled too.
        """
        try:
            message = await self._next()
        except TimeoutError as timeout:
            self._call.cancel()
            raise read_timeout_error(self._target, self._read_timeout_s or 0.0) from timeout
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
        async with asyncio.timeout(self._read_timeout_s):
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
        read_timeout_s: float | None,
        on_answer: Callable[[], None],
    ) -> None:
        """Wraps a running call.

        Args:
            call: The running call.
            target: Address of its server, for error messages.
            read_timeout_s: Longest wait for each next message in the server's turn, in seconds; None: no limit.
            on_answer: Called when the server has answered: with a message, or with an error.
        """
        super().__init__(call, target=target, read_timeout_s=read_timeout_s, deadline_s=None, on_answer=on_answer)
        self._call_to_write = call
        self._limit: asyncio.Timeout | None = None  # of the read in progress
        self._server_turn = True
        self._ended = False
        self._status: grpc.aio.AioRpcError | None = None
        self._status_known = asyncio.Event()
        call.add_done_callback(self._note_status)

    async def write(self, request: Request) -> bool:
        """Send a message, when the server has room for it.

        Returns:
            False if the call has ended; a read tells how.
        """
        return await self._write_to(self._call_to_write.write(request))

    async def end_input(self) -> None:
        """Sends the end of the input."""
        if not self._server_turn and self._limit is not None and self._read_timeout_s is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._read_timeout_s)
        self._ended = self._server_turn = True
        await self._write_to(self._call_to_write.done_writing())

    async def _next(self) -> Response | None:
        async with asyncio.timeout(self._read_timeout_s if self._server_turn else None) as limit:
            self._limit = limit
            try:
                message = await anext(self._responses, None)
            except grpc.aio.AioRpcError as error:
                status = await self._status_behind(error)
                if status.code() is not grpc.StatusCode.OK:
                    raise status from error
                message = None
            finally:
                self._limit = None
        self._server_turn = self._ended
        return message

    async def _write_to(self, writing: Awaitable[None]) -> bool:
        try:
            await writing
        except (grpc.RpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            return False
        except asyncio.CancelledError:
            if self_was_cancelled():
                raise
            return False
        return True

    async def _status_behind(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The server's own status.

        gRPC replaces it by its own, before or after it arrives, when a write fails because the server has ended
        the call (https://github.com/grpc/grpc/issues/36066).
        """
        if error.details() == _HIDDEN:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HIDDEN_S_MAX):
                    await self._status_known.wait()
        return self._status or error

    def _note_status(self, call: grpc.aio.StreamStreamCall[Request, Response]) -> None:
        details = _now(call.details())
        if details != _HIDDEN:
            self._status = grpc.aio.AioRpcError(
                _now(call.code()), grpc.aio.Metadata(), _now(call.trailing_metadata()), details=details
            )
            self._status_known.set()


def _now(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise RuntimeError("the coroutine waits")
