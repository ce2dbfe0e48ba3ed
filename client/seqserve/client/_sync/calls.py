"""The calls of one blocking client: its stubs, and the limits that hold where a call names none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import grpc

from seqserve.client._async.generation_stream import GenerationStream
from seqserve.client._sync.duplex_stream import DuplexStream
from seqserve.client._sync.messages import Messages
from seqserve.client._sync.transport import Transport, limit_or_none
from seqserve.client.core.resumption import Resumption
from seqserve.client.core.retry_policy import RetryPolicy
from seqserve.client.core.stream import FinishedT, PartT, PieceT, StreamCodec, check_source
from seqserve.client.types.generation import GenerationFinished
from seqserve.v1 import (
    classification_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
    infilling_pb2_grpc,
    model_pb2_grpc,
    session_pb2_grpc,
    tagging_pb2_grpc,
)

Request = TypeVar("Request")
Response = TypeVar("Response")


def no_one(finished: object) -> None:
    """Nobody wants to know how a stream ended."""


class Calls:
    """What a client and its sessions share."""

    def __init__(self, transport: Transport, *, timeout_s: float, resume_s: float) -> None:
        """Args: timeout_s, resume_s: as those of the client."""
        self.transport = transport
        self.generation = generation_pb2_grpc.GenerationServiceStub(transport.channel)
        self.tagging = tagging_pb2_grpc.TaggingServiceStub(transport.channel)
        self.classification = classification_pb2_grpc.ClassificationServiceStub(transport.channel)
        self.infilling = infilling_pb2_grpc.InfillingServiceStub(transport.channel)
        self.sessions = session_pb2_grpc.SessionServiceStub(transport.channel)
        self.models = model_pb2_grpc.ModelServiceStub(transport.channel)
        self._timeout_s = timeout_s
        self._resume_s = resume_s

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout_s: float | None,
    ) -> Response:
        """Call a method; gRPC repeats what changes nothing. Args: timeout_s: None: the client's.

        Raises:
            SeqserveError: if the call failed.
        """
        return self.transport.call(method, request, timeout_s=self.limit_s(timeout_s))

    def ask(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout_s: float | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> Response:
        """Ask for something that does no harm twice: again and again while the server is away, as resuming does.

        Args:
            method: The method to call.
            request: What to ask.
            timeout_s: Most seconds for an attempt. Default: the client's.
            retry_policy: Default: the client's.

        Raises:
            SeqserveError: if the call failed.
        """
        retry_policy = retry_policy or self.retry_policy()
        return self.transport.call(method, request, timeout_s=self.limit_s(timeout_s), retry_policy=retry_policy)

    def generate(
        self,
        request: generation_pb2.GenerateRequest,
        timeout_s: float | None,
        deadline_s: float | None,
        resume_s: float | None,
        on_finished: Callable[[GenerationFinished], None] = no_one,
    ) -> GenerationStream:
        """A generation that is resumed when its stream breaks. Args: on_finished: Told of its end; else `Client`'s."""
        read_timeout_s, deadline_s = self.limit_s(timeout_s), limit_or_none(deadline_s)
        resumption = Resumption(request, self.retry_policy(resume_s), deadline_s)

        def open_call() -> Messages[generation_pb2.GenerateResponse]:
            method, left_s = self.generation.Generate, resumption.left_s()
            return self.transport.open(
                method, resumption.request, read_timeout_s=read_timeout_s, deadline_s=deadline_s, left_s=left_s
            )

        return GenerationStream(self.transport, open_call, resumption, on_finished)

    def feed(
        self,
        method: grpc.StreamStreamMultiCallable[Any, Any],
        codec: StreamCodec[PieceT, PartT, FinishedT],
        source: Iterable[object],
        timeout_s: float | None,
        on_finished: Callable[[FinishedT], None] = no_one,
    ) -> DuplexStream[PieceT, PartT, FinishedT]:
        """A stream that a source feeds; it is not resumed, for nobody has kept what the source gave.

        Args:
            method: The method to call.
            codec: How it is spoken.
            source: Where the pieces come from.
            timeout_s: Longest wait for the server, while it is its turn. Default: the client's.
            on_finished: Told of its end.

        Raises:
            TypeError: if the source is one text.
        """
        check_source(source)
        read_timeout_s = self.limit_s(timeout_s)
        return DuplexStream(
            lambda requests: self.transport.converse(method, requests, read_timeout_s=read_timeout_s),
            codec,
            source,
            on_finished,
        )

    def retry_policy(self, resume_s: float | None = None) -> RetryPolicy:
        """How long a call is made again. Args: resume_s: Default: the client's."""
        return RetryPolicy(self._resume_s if resume_s is None else resume_s)

    def limit_s(self, timeout_s: float | None) -> float | None:
        """A time-out, or the client's."""
        return limit_or_none(self._timeout_s if timeout_s is None else timeout_s)
