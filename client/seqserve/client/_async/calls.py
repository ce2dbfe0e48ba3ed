"""The calls of one client: its stubs, and the limits that apply where a call names none."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from seqserve.client._async.concurrency import AsyncSource
from seqserve.client._async.duplex_stream import AsyncDuplexStream
from seqserve.client._async.generation_stream import AsyncGenerationStream
from seqserve.client._async.input_pump import AsyncInputPump
from seqserve.client._async.messages import AsyncMessages
from seqserve.client._async.transport import AsyncTransport
from seqserve.client.core.channel import limit_or_none
from seqserve.client.core.request_size import check_size
from seqserve.client.core.resumption import Resumption
from seqserve.client.core.retry_policy import RetryPolicy
from seqserve.client.core.stream import FinishedT, PartT, PieceT, StreamCodec, check_source
from seqserve.client.types.generation import GenerationFinished
from seqserve.client.types.health import HEALTH_CHECK
from seqserve.v1 import (
    classification_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
    infilling_pb2_grpc,
    model_pb2_grpc,
    session_pb2_grpc,
    tagging_pb2_grpc,
)

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response")


def no_one(finished: object) -> None:
    """Ignores the result of a stream."""


class AsyncCalls:
    """Stubs, limits and retries that a client and its sessions share."""

    def __init__(self, transport: AsyncTransport, *, timeout_s: float, resume_s: float, request_bytes_max: int) -> None:
        """Prepares the calls.

        Args:
            transport: Connection to the server.
            timeout_s: Default time-out of a call, in seconds.
            resume_s: Default time for which a broken call is retried, in seconds.
            request_bytes_max: Maximum size of a request, in bytes.
        """
        self.transport = transport
        self._timeout_s = timeout_s
        self._resume_s = resume_s
        self._request_bytes_max = request_bytes_max

    @cached_property
    def generation(self) -> generation_pb2_grpc.GenerationServiceAsyncStub:
        """The stub of GenerationService."""
        return self.transport.bind(generation_pb2_grpc.GenerationServiceStub)

    @cached_property
    def tagging(self) -> tagging_pb2_grpc.TaggingServiceAsyncStub:
        """The stub of TaggingService."""
        return self.transport.bind(tagging_pb2_grpc.TaggingServiceStub)

    @cached_property
    def classification(self) -> classification_pb2_grpc.ClassificationServiceAsyncStub:
        """The stub of ClassificationService."""
        return self.transport.bind(classification_pb2_grpc.ClassificationServiceStub)

    @cached_property
    def infilling(self) -> infilling_pb2_grpc.InfillingServiceAsyncStub:
        """The stub of InfillingService."""
        return self.transport.bind(infilling_pb2_grpc.InfillingServiceStub)

    @cached_property
    def sessions(self) -> session_pb2_grpc.SessionServiceAsyncStub:
        """The stub of SessionService."""
        return self.transport.bind(session_pb2_grpc.SessionServiceStub)

    @cached_property
    def models(self) -> model_pb2_grpc.ModelServiceAsyncStub:
        """The stub of ModelService."""
        return self.transport.bind(model_pb2_grpc.ModelServiceStub)

    @cached_property
    def health_check(
        self,
    ) -> grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]:
        """The method Check of grpc.health.v1."""
        return self.transport.bind(
            lambda channel: channel.unary_unary(
                HEALTH_CHECK,
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
        )

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout_s: float | None,
    ) -> Response:
        """Calls a method; gRPC retries the methods that change nothing. Args: timeout_s: None: the client's.

        Raises:
            SeqserveError: If the call failed.
        """
        check_size(request, self._request_bytes_max)
        return await self.transport.call(method, request, timeout_s=self.limit_s(timeout_s))

    async def ask(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout_s: float | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> Response:
        """Calls a method that is safe to repeat, and retries it while the server is away.

        Args:
            method: The method to call.
            request: The request.
            timeout_s: Maximum time for an attempt, in seconds. Default: the client's.
            retry_policy: Default: the client's.

        Raises:
            SeqserveError: If the call failed.
        """
        check_size(request, self._request_bytes_max)
        retry_policy = retry_policy or self.retry_policy()
        return await self.transport.call(method, request, timeout_s=self.limit_s(timeout_s), retry_policy=retry_policy)

    def generate(
        self,
        request: generation_pb2.GenerateRequest,
        timeout_s: float | None,
        deadline_s: float | None,
        resume_s: float | None,
        on_finished: Callable[[GenerationFinished], None] = no_one,
    ) -> AsyncGenerationStream:
        """A generation that is resumed when its stream breaks.

        Args:
            request: The request.
            timeout_s: Longest wait for each next message, in seconds. Default: the client's.
            deadline_s: Maximum time for the whole generation, in seconds; None: no limit.
            resume_s: How long a broken stream is retried, in seconds. Default: the client's.
            on_finished: Called with the final result.
        """
        check_size(request, self._request_bytes_max)
        read_timeout_s, deadline_s = self.limit_s(timeout_s), limit_or_none(deadline_s)
        resumption = Resumption(request, self.retry_policy(resume_s), deadline_s)

        def open_call() -> AsyncMessages[generation_pb2.GenerateResponse]:
            method, left_s = self.generation.Generate, resumption.left_s()
            return self.transport.open(
                method, resumption.request, read_timeout_s=read_timeout_s, deadline_s=deadline_s, left_s=left_s
            )

        return AsyncGenerationStream(self.transport, open_call, resumption, on_finished)

    def feed(
        self,
        method: Callable[[], grpc.aio.StreamStreamMultiCallable[Any, Any]],
        codec: StreamCodec[PieceT, PartT, FinishedT],
        source: AsyncSource[object],
        timeout_s: float | None,
        on_finished: Callable[[FinishedT], None] = no_one,
    ) -> AsyncDuplexStream[PieceT, PartT, FinishedT]:
        """A stream that a source feeds; it is not resumed, because the pieces of the source are not kept.

        Args:
            method: Returns the method to call.
            codec: Messages and values of this kind of stream.
            source: Where the pieces come from.
            timeout_s: Longest wait for the server while it is its turn, in seconds. Default: the client's.
            on_finished: Called with the final result.

        Raises:
            TypeError: The source is a single text.
        """
        check_source(source)
        pump = AsyncInputPump(self.transport, method, codec, source, self.limit_s(timeout_s))
        return AsyncDuplexStream(pump, codec, on_finished)

    def retry_policy(self, resume_s: float | None = None, *, waits_for_room: bool = False) -> RetryPolicy:
        """The policy for retrying a call.

        Args:
            resume_s: How long a call is retried, in seconds. Default: the client's.
            waits_for_room: Retry a call that the server did not admit because its queue is full.
        """
        limit_s = self._resume_s if resume_s is None else resume_s
        return RetryPolicy(limit_s, waits_for_room=waits_for_room)

    def limit_s(self, timeout_s: float | None) -> float | None:
        """The time limit of a call: the given one, or the client's."""
        return limit_or_none(self._timeout_s if timeout_s is None else timeout_s)
