"""Interceptors of others wrap streaming methods, as OpenTelemetry's instrumentation does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import collect, refusal
from tests.server.api.generation.scoring import Scoring


class Wrapping(grpc.aio.ServerInterceptor):
    """Wraps the handlers of streams in a generator, and counts what they yield."""

    def __init__(self) -> None:
        self.responses = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler: Any = await continuation(handler_call_details)
        if handler is None or not handler.response_streaming:
            return handler
        behavior = handler.stream_stream or handler.unary_stream

        async def call(request: Any, context: Any) -> Any:
            async for response in behavior(request, context):
                self.responses += 1
                yield response

        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make(call, handler.request_deserializer, handler.response_serializer)


async def test_streams_can_be_wrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.servables import make_language_model  # torch takes seconds to import

    make_language_model(tmp_path / "lm", layers=1, hidden_size=16)
    wrapping, make_server = Wrapping(), grpc.aio.server

    def instrumented(*, interceptors: list[Any], **options: Any) -> Any:
        return make_server(interceptors=[wrapping, *interceptors], **options)

    monkeypatch.setattr(grpc.aio, "server", instrumented)
    async with running_server(tmp_path) as address, grpc.aio.insecure_channel(address) as channel:
        stub: Any = GenerationServiceStub(channel)
        request = pb.GenerateRequest(model=common.ModelRef(name="lm"), text="the")
        generated = await collect(stub.Generate(request))
        assert generated.ids
        assert wrapping.responses == 2 + len(generated.pieces)
        wrapping.responses = 0
        scoring = Scoring(channel, "lm")
        await scoring.begin()
        await scoring.send("the cat")
        await scoring.scores(6)
        assert wrapping.responses >= 2
        scoring.call.cancel()
        request.model.name = "none"
        answer = await refusal(collect(stub.Generate(request)))
        assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "ERROR_REASON_MODEL_NOT_FOUND")
