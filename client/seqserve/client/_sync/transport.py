"""The way to a server: address, channel options, and calls whose failures are the client's own exceptions.

The only place that makes gRPC calls. Everything above it deals in requests, messages and `SeqserveError`; everything
below it is a grpc channel, which may be the caller's own (with TLS, interceptors, or a fake behind it).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from seqserve.client._sync.messages import Messages
from seqserve.client.core.channel import channel_options, complete_address, metadata_of
from seqserve.client.core.retry_policy import RetryPolicy, answered
from seqserve.client.core.status import error_from_call
from seqserve.client.core.turn_tracker import TurnTracker

Request = TypeVar("Request")
Response = TypeVar("Response")
Stub = TypeVar("Stub")


class Transport:
    """Blocking calls over one channel. Safe to use from several threads."""

    def __init__(self, target: str, channel: grpc.Channel | None, principal: str | None = None) -> None:
        """Prepares the connection.

        Args:
            target: Address of the server; see `complete_address`.
            channel: The caller's channel; None: one is opened to ``target``.
            principal: Who calls; sessions belong to the principal that created them.
        """
        self.target = complete_address(target)
        self._reached = False
        self._metadata = metadata_of(principal)
        self._owns_channel = channel is None
        self._closed = False
        self._pauses: set[threading.Event] = set()
        self._channel = (
            channel if channel is not None else grpc.insecure_channel(self.target, channel_options(self.target))
        )
        self._channel_lock = threading.Lock()  # making a stub of a channel that is closed kills the process

    def bind(self, make: Callable[[grpc.Channel], Stub]) -> Stub:
        """A stub, or one method, of the channel.

        Args:
            make: Makes it.

        Raises:
            RuntimeError: The client is closed.
        """
        with self._channel_lock:
            self._require_open()
            return make(self._channel)

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout_s: float | None,
        retry_policy: RetryPolicy | None = None,
    ) -> Response:
        """Calls a method and waits for the answer.

        Args:
            method: The method to call.
            request: The request.
            timeout_s: Maximum time for an attempt, in seconds; None: no limit.
            retry_policy: Retries once the address has answered anything, as the policy decides: for requests that
                are safe to repeat. None: one attempt.

        Raises:
            SeqserveError: If the call failed; DeadlineError if it took longer than ``timeout_s``.
            RuntimeError: If the client is closed.
        """
        while True:
            self._require_open()
            try:
                answer = method(request, timeout=timeout_s, metadata=self._metadata)
            except grpc.RpcError as rpc_error:
                error = error_from_call(rpc_error, target=self.target, deadline_s=timeout_s)
                self._reached |= answered(error)
                pause_s = retry_policy.pause_s(error) if retry_policy is not None and self.worth_retrying else None
                if pause_s is None:
                    raise error from rpc_error
                self.pause(pause_s, threading.Event())
            else:
                self._reached = True
                return answer

    def open(
        self,
        method: grpc.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        read_timeout_s: float | None,
        deadline_s: float | None,
        left_s: float | None,
    ) -> Messages[Response]:
        """Makes a call that answers with a stream; failures are raised by the first read.

        Args:
            method: The method to call.
            request: The request.
            read_timeout_s: Longest wait for each next message; None for no limit.
            deadline_s: Maximum time for the whole generation, in seconds, for error messages; None: no limit.
            left_s: Time left for this call, in seconds: the deadline that the server receives.

        Raises:
            RuntimeError: If the client is closed.
        """
        self._require_open()
        call = method(request, timeout=left_s, metadata=self._metadata)
        return Messages(
            call, target=self.target, read_timeout_s=read_timeout_s, deadline_s=deadline_s, on_answer=self._note_answer
        )

    def converse(
        self,
        method: grpc.StreamStreamMultiCallable[Request, Response],
        requests: Iterator[Request],
        *,
        read_timeout_s: float | None,
    ) -> Messages[Response]:
        """Makes a call in which both sides stream; failures are raised by the first read.

        Args:
            method: The method to call.
            requests: The requests, read in a thread as fast as the server takes them.
            read_timeout_s: Longest wait for each next message, while it is the server's turn; None for no limit.

        Raises:
            RuntimeError: If the client is closed.
        """
        self._require_open()
        turn_tracker = TurnTracker()
        call = method(turn_tracker.note_end(requests), metadata=self._metadata)

        def on_answer() -> None:
            turn_tracker.answered = True
            self._note_answer()

        return Messages(
            call,
            target=self.target,
            read_timeout_s=read_timeout_s,
            deadline_s=None,
            on_answer=on_answer,
            server_turn_since_s=turn_tracker.server_turn_since_s,
        )

    def close(self) -> None:
        """Cancels running calls, ends pauses, and closes the channel unless it is the caller's."""
        self._closed = True
        for pause in tuple(self._pauses):
            pause.set()
        if self._owns_channel:
            with self._channel_lock:
                self._channel.close()

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed")

    @property
    def worth_retrying(self) -> bool:
        """Whether a broken call may be retried: an address that never answered is not retried."""
        return self._reached and not self._closed

    def pause(self, pause_s: float, woken: threading.Event) -> None:
        """Waits for ``pause_s`` seconds, or until ``woken`` is set or the client is closed."""
        self._pauses.add(woken)
        try:
            if not self._closed:  # from here on close() knows of this pause
                woken.wait(pause_s)
        finally:
            self._pauses.discard(woken)

    def _note_answer(self) -> None:
        self._reached = True
