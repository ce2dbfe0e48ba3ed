"""The way to a server: address, channel options, and calls whose failures are the client's own exceptions.

The only place that makes gRPC calls. Everything above it deals in requests, messages and `SeqserveError`; everything
below it is a grpc channel, which may be the caller's own (with TLS, interceptors, or a fake behind it).
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import grpc

from seqserve.client._sync.messages import Messages, TurnTracker, error_from_call
from seqserve.client.core.retry_policy import RetryPolicy, answered

Request = TypeVar("Request")
Response = TypeVar("Response")

PORT_DEFAULT: Final = 50051
TIMEOUT_S_DEFAULT: Final = 60.0
PRINCIPAL_KEY: Final = "seqserve-principal"
"""Metadata key that tells a server who calls."""
MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024

IDEMPOTENT_METHODS: Final = (
    ("seqserve.v1.GenerationService", "Score"),  # with a session it goes under a request id
    ("seqserve.v1.TaggingService", "Tag"),
    ("seqserve.v1.ClassificationService", "Classify"),
    ("seqserve.v1.InfillingService", "FillIn"),
    ("seqserve.v1.ModelService", "ListModels"),
    ("seqserve.v1.ModelService", "GetModel"),
)
"""Unary methods that change nothing on the server: UNAVAILABLE is retried by gRPC within the call's time-out."""

_SERVICE_CONFIG: Final = {
    "methodConfig": [
        {
            "name": [{"service": service, "method": method} for service, method in IDEMPOTENT_METHODS],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # While a call runs, ask every 60 s whether the server is still there, and give it 20 s. A gRPC server cuts clients
    # that ask more often than every 5 minutes; seqserve-server allows it.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # A server that was restarted is found again within seconds (gRPC's own ceiling is two minutes).
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def complete_address(target: str) -> str:
    """The address as gRPC wants it: the default port is added to a host without one.

    Args:
        target: HOST, HOST:PORT, [IPV6]:PORT, or a gRPC name such as "unix:/run/seqserve.sock" or "dns:///host:port".

    Raises:
        ValueError: if it is empty or a web address.
    """
    if not target.strip():
        raise ValueError("the server's address is empty: give HOST:PORT")
    if target.startswith(("http://", "https://")):
        raise ValueError(f"{target!r} is a web address: give HOST:PORT, without {target.partition('//')[0]}//")
    has_port = ":" in target.rpartition("]")[2]
    return target if has_port else f"{target}:{PORT_DEFAULT}"


def metadata_of(principal: str | None) -> tuple[tuple[str, str], ...]:
    """What goes with every call.

    Raises:
        ValueError: if the principal is not what metadata can carry.
    """
    if principal is None:
        return ()
    if not principal or not principal.isascii() or not principal.isprintable():
        raise ValueError(f"a principal is a name of printable ASCII characters, not {principal!r}")
    return ((PRINCIPAL_KEY, principal),)


def limit_or_none(limit_s: float | None) -> float | None:
    """A time limit as gRPC wants it: None where there is none (math.inf).

    Raises:
        ValueError: if it is not above 0.
    """
    if limit_s is not None and not limit_s > 0:
        raise ValueError(f"a time limit has to be above 0 s, not {limit_s:g} (math.inf for none)")
    return None if limit_s == math.inf else limit_s


class Transport:
    """Blocking calls over one channel. Safe to use from several threads."""

    def __init__(self, target: str, channel: grpc.Channel | None, principal: str | None = None) -> None:
        """Args: principal: who calls; sessions belong to it."""
        self.target = complete_address(target)
        self._reached = False
        self._metadata = metadata_of(principal)
        self._owns_channel = channel is None
        self._closed = False
        self._pauses: set[threading.Event] = set()
        self.channel = channel if channel is not None else grpc.insecure_channel(self.target, CHANNEL_OPTIONS)

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout_s: float | None,
        retry_policy: RetryPolicy | None = None,
    ) -> Response:
        """Ask and wait for the answer.

        Args:
            method: The method to call.
            request: What to ask.
            timeout_s: Most seconds for an attempt; None for no limit.
            retry_policy: Asks again, once the address has answered anything, for as long as it says: for requests that
                do no harm twice. None: ask once.

        Raises:
            SeqserveError: if the call failed; DeadlineError if it took longer than ``timeout_s``.
            RuntimeError: if the client is closed.
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
        """Ask once for a stream of answers; failures come with the first read.

        Args:
            method: The method to call.
            request: What to ask.
            read_timeout_s: Longest wait for each next message; None for no limit.
            deadline_s: Most seconds for the whole, of which this call may be a part; None for no limit.
            left_s: Seconds that are left of them for this call, which the server is told.

        Raises:
            RuntimeError: if the client is closed.
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
        """Ask in a stream for a stream of answers; failures come with the first read.

        Args:
            method: The method to call.
            requests: What to say, read in a thread as fast as the server takes it.
            read_timeout_s: Longest wait for each next message, while it is the server's turn; None for no limit.

        Raises:
            RuntimeError: if the client is closed.
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
        """Cancel what runs, end what pauses, and close the channel, unless it is the caller's own."""
        self._closed = True
        for pause in tuple(self._pauses):
            pause.set()
        if self._owns_channel:
            self.channel.close()

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed")

    @property
    def worth_retrying(self) -> bool:
        """Whether a call that broke may be made again: a wrong address, which never answered, is told at once."""
        return self._reached and not self._closed

    def pause(self, pause_s: float, woken: threading.Event) -> None:
        """Wait for so long, or until ``woken`` is set or the client is closed."""
        self._pauses.add(woken)
        try:
            if not self._closed:  # from here on close() knows of this pause
                woken.wait(pause_s)
        finally:
            self._pauses.discard(woken)

    def _note_answer(self) -> None:
        self._reached = True
