"""The answers of one blocking call: their time-out, whose turn it is, and what its failures are told as."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeGuard, TypeVar

import grpc

from seqserve.client._sync.wrapped_stream import WrappedStream
from seqserve.client.core.retry_policy import answered
from seqserve.client.core.status import error_from_call, read_timeout_error

Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)


class ResponseStream(Protocol[Response_co]):
    """A running call that answers with a stream, as grpc returns it."""

    def __next__(self) -> Response_co:
        """The next message; waits for it."""
        ...

    def cancel(self) -> object:
        """End the call."""
        ...

    def add_callback(self, callback: Callable[[], None], /) -> bool:
        """Have something called when the call ends.

        Returns:
            False if it has ended already.
        """
        ...


class ReadTimeoutWatch:
    """Cancels a call whose reader has waited too long for the next message.

    gRPC has deadlines for whole calls only, and its blocking streams cannot be read with a time-out; one waiting
    thread a stream does it from outside. It looks at the clock only when the time-out could have passed.
    """

    def __init__(
        self, limit_s: float, cancel: Callable[[], object], server_turn_since_s: Callable[[], float | None]
    ) -> None:
        """Starts the watching thread.

        Args:
            limit_s: Longest wait for a message, in seconds.
            cancel: Ends the call.
            server_turn_since_s: Returns since when it is the server's turn, by time.monotonic(); None: it is not.
        """
        self.expired = False
        self._limit_s = limit_s
        self._cancel = cancel
        self._owed_since_s = server_turn_since_s
        self._waiting_since_s: float | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="seqserve-read-timeout", daemon=True).start()

    def begin(self) -> None:
        """The reader starts to wait."""
        self._waiting_since_s = time.monotonic()

    def end(self) -> None:
        """The reader has received its message."""
        self._waiting_since_s = None

    def close(self) -> None:
        """Stops watching; the thread ends."""
        self._closed.set()

    def _watch(self) -> None:
        pause_s = self._limit_s
        while not self._closed.wait(pause_s):
            waiting_s, turn_s = self._waiting_since_s, self._owed_since_s()
            if waiting_s is None or turn_s is None:
                pause_s = self._limit_s
                continue
            pause_s = max(waiting_s, turn_s) + self._limit_s - time.monotonic()
            if pause_s <= 0:
                self.expired = True
                self._cancel()
                return


def _is_call(stream: ResponseStream[Response] | Iterator[Response]) -> TypeGuard[ResponseStream[Response]]:
    """Whether a stream is a call of gRPC, and not an iterator that an interceptor has made of one."""
    return hasattr(stream, "cancel") and hasattr(stream, "add_callback")


class Messages(Generic[Response]):
    """The answers of one streaming call, read one by one."""

    def __init__(
        self,
        call: ResponseStream[Response] | Iterator[Response],
        *,
        target: str,
        read_timeout_s: float | None,
        deadline_s: float | None,
        on_answer: Callable[[], None] = lambda: None,
        server_turn_since_s: Callable[[], float | None] = lambda: -math.inf,
    ) -> None:
        """Make them of a running call.

        Args:
            call: The call, or an iterator that an interceptor has made of it.
            target: Its server, for messages.
            read_timeout_s: Longest wait for each next message, while it is the server's turn; None for no limit.
            deadline_s: Time that the whole call was given, in seconds, for error messages.
            on_answer: Called when the server has answered: with a message, or with a failure of its own.
            server_turn_since_s: Since when it is the server's turn; None: it is not. Default: it always is.
        """
        self._call: ResponseStream[Response] = call if _is_call(call) else WrappedStream(call)
        self._on_answer = on_answer
        self._target = target
        self._read_timeout_s = read_timeout_s
        self._deadline_s = deadline_s
        self._cancelled = False
        self._watch = (
            ReadTimeoutWatch(read_timeout_s, self._call.cancel, server_turn_since_s)
            if read_timeout_s is not None
            else None
        )
        if self._watch is not None and not self._call.add_callback(self._watch.close):
            self._watch.close()

    def read(self) -> Response | None:
        """The next message; None at the end, and after `cancel`.

        Raises:
            SeqserveError: If the call failed.
        """
        if self._watch is None:
            return self._next()
        self._watch.begin()
        try:
            return self._next()
        finally:
            self._watch.end()

    def cancel(self) -> None:
        """End the call on both sides; once it has ended this does nothing."""
        self._cancelled = True
        self._call.cancel()

    def _next(self) -> Response | None:
        try:
            message = next(self._call)
            self._on_answer()
            return message
        except StopIteration:
            return None
        except grpc.RpcError as rpc_error:
            if self._cancelled:
                return None
            if self._watch is not None and self._watch.expired and self._read_timeout_s is not None:
                raise read_timeout_error(self._target, self._read_timeout_s) from rpc_error
            error = error_from_call(rpc_error, target=self._target, deadline_s=self._deadline_s)
            if answered(error):
                self._on_answer()
            raise error from rpc_error
