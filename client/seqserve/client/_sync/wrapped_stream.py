"""Response streams that an interceptor has wrapped.

gRPC returns a call that can be cancelled. An interceptor, such as OpenTelemetry's, may return a plain iterator over its
messages instead: it cannot be cancelled while another thread waits for its next message.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import grpc

Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)

_END: Final = object()


class StreamCancelledError(grpc.RpcError):
    """A wrapped stream was cancelled by its reader."""

    def code(self) -> grpc.StatusCode:
        """The status code of the call."""
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        """The status message of the call."""
        return "cancelled by the client"

    def trailing_metadata(self) -> tuple[()]:
        """The metadata of the status: none."""
        return ()


class SupportsNext(Protocol[Response_co]):
    """An iterator."""

    def __next__(self) -> Response_co:
        """The next message; waits for it."""
        ...


class WrappedStream(Generic[Response]):
    """Reads an iterator in its own thread, so that the reader can be released at any time.

    Each message is read when it is requested, none in advance. ``cancel`` releases the reader immediately. The call
    itself is cancelled too if the iterator has a method ``cancel`` or delegates to such an iterator; otherwise as soon
    as its current read ends.
    """

    def __init__(self, stream: SupportsNext[Response]) -> None:
        self._stream: Any = stream
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True: read a message; False: close the stream
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()  # of callbacks and ended
        self._ended = False
        context = contextvars.copy_context()  # the interceptor may look up the caller's trace
        threading.Thread(target=context.run, args=(self._run,), name="seqserve-wrapped-stream", daemon=True).start()

    def __next__(self) -> Response:
        """The next message; waits for it.

        Raises:
            StopIteration: The stream has ended.
            StreamCancelledError: ``cancel`` was called.
        """
        self._requests.put(True)
        result = self._results.get()
        if result is _END:
            self._results.put(_END)  # for the next call
            raise StopIteration
        if isinstance(result, BaseException):
            self._results.put(_END)
            raise result
        message: Response = result
        return message

    def cancel(self) -> None:
        """Releases the reader and ends the call."""
        with self._lock:
            if self._ended:
                return
        self._results.put(StreamCancelledError())
        self._requests.put(False)
        inner = self._stream
        while inner is not None and not hasattr(inner, "cancel"):
            inner = getattr(inner, "gi_yieldfrom", None)
        if inner is not None:
            inner.cancel()

    def add_callback(self, callback: Callable[[], None], /) -> bool:
        """Registers a function to call when the stream ends.

        Args:
            callback: The function.

        Returns:
            False if the stream has ended already.
        """
        with self._lock:
            if not self._ended:
                self._callbacks.append(callback)
            return not self._ended

    def _run(self) -> None:
        """Reads messages on request until the stream ends; runs in its own thread."""
        try:
            while self._requests.get():
                try:
                    result: object = next(self._stream, _END)
                except BaseException as error:  # noqa: BLE001 - the reader raises it, whatever it is
                    result = error
                self._results.put(result)
                if result is _END or isinstance(result, BaseException):
                    break
        finally:
            if (close := getattr(self._stream, "close", None)) is not None:
                with contextlib.suppress(Exception):  # the call has ended; nobody waits for an answer
                    close()
            self._stream = None
            with self._lock:
                self._ended = True
            for callback in self._callbacks:
                callback()
