"""The scripted server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf import message as protobuf
from grpc_health.v1 import health_pb2

from seqserve.client.core.channel import PRINCIPAL_KEY
from seqserve.client.testing.failure import Context, Failure
from seqserve.client.testing.scripts import (
    classify_texts,
    echo,
    fill_blanks,
    get_one,
    list_one,
    load_one,
    score_characters,
    tag_words,
    unload_one,
)
from seqserve.client.testing.sessions import METHODS, ScriptedSessions
from seqserve.client.testing.stream_scripts import classify_as_it_comes, score_as_it_comes, tag_as_it_comes
from seqserve.v1 import classification_pb2, generation_pb2, infilling_pb2, model_pb2, state_pb2, tagging_pb2

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

Script: TypeAlias = Callable[[RequestT], Awaitable[ResponseT]]
"""A unary method: a request in, an answer or a `Failure` out."""

StreamScript: TypeAlias = Callable[[AsyncIterator[RequestT]], AsyncGenerator[ResponseT, None]]
"""A method of streams both ways: requests in as they come, events or a `Failure` out."""


_CANCEL_S = 0.2


class ScriptedServer:
    """The server. ``with`` runs it in a thread, for blocking code; ``async with`` in the running event loop.

    Attributes:
        target: Its address, once it runs.
        requests: Every request that came, in order.
        principals: Who made each of them; None for nobody in particular.
        cancelled: Set when a call was cancelled while it was being answered.
        serving: What the health service answers, by name of the service.
        on_generate: Answers Generate; as it comes, `echo`.
        on_score: Answers Score; as it comes, `score_characters`.
        on_tag: Answers Tag; as it comes, `tag_words`.
        on_classify: Answers Classify; as it comes, `classify_texts`.
        on_fill: Answers FillIn; as it comes, `fill_blanks`.
        on_stream_tag: Answers StreamTag; as it comes, `tag_as_it_comes`.
        on_stream_score: Answers StreamScore; as it comes, `score_as_it_comes`.
        on_stream_classify: Answers StreamClassify; as it comes, `classify_as_it_comes`.
        on_list_models: Answers ListModels; as it comes, `list_one`.
        on_get_model: Answers GetModel; as it comes, `get_one`.
        on_load_model: Answers LoadModel; as it comes, `load_one`.
        on_unload_model: Answers UnloadModel; as it comes, `unload_one`.
        on_session: Answers all methods of SessionService; as it comes, ``sessions``.
        sessions: Sessions in memory, which generating and scoring advance.
    """

    def __init__(self) -> None:
        self.target = ""
        self.requests: list[Any] = []
        self.principals: list[str | None] = []
        self.cancelled = threading.Event()
        self.serving = {"": True}
        self.on_generate: Callable[
            [generation_pb2.GenerateRequest], AsyncGenerator[generation_pb2.GenerateResponse, None]
        ] = echo
        self.on_score: Script[generation_pb2.ScoreRequest, generation_pb2.ScoreResponse] = score_characters
        self.on_tag: Script[tagging_pb2.TagRequest, tagging_pb2.TagResponse] = tag_words
        self.on_classify: Script[classification_pb2.ClassifyRequest, classification_pb2.ClassifyResponse] = (
            classify_texts
        )
        self.on_fill: Script[infilling_pb2.FillInRequest, infilling_pb2.FillInResponse] = fill_blanks
        self.on_stream_tag: StreamScript[tagging_pb2.StreamTagRequest, tagging_pb2.StreamTagResponse] = tag_as_it_comes
        self.on_stream_score: StreamScript[generation_pb2.StreamScoreRequest, generation_pb2.StreamScoreResponse] = (
            score_as_it_comes
        )
        self.on_stream_classify: StreamScript[
            classification_pb2.StreamClassifyRequest, classification_pb2.StreamClassifyResponse
        ] = classify_as_it_comes
        self.on_list_models: Script[model_pb2.ListModelsRequest, model_pb2.ListModelsResponse] = list_one
        self.on_get_model: Script[model_pb2.GetModelRequest, model_pb2.GetModelResponse] = get_one
        self.on_load_model: Script[model_pb2.LoadModelRequest, model_pb2.LoadModelResponse] = load_one
        self.on_unload_model: Script[model_pb2.UnloadModelRequest, model_pb2.UnloadModelResponse] = unload_one
        self.sessions = ScriptedSessions()
        self.on_session: Script[Any, protobuf.Message] = self.sessions
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run_until_stopped()), name="scripted-server")
        self._started = threading.Event()
        self._stop: Callable[[], object] = lambda: None

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(*service) for service in self._methods().items()]
        )
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop(None)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        self._thread.join()

    async def _run_until_stopped(self) -> None:
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        async with self:
            self._started.set()
            await stopping.wait()

    def _methods(self) -> dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]]:
        generate = grpc.unary_stream_rpc_method_handler(
            self._generate,
            generation_pb2.GenerateRequest.FromString,
            generation_pb2.GenerateResponse.SerializeToString,
        )
        return {
            "seqserve.v1.GenerationService": {
                "Generate": generate,
                "Score": self._unary("_score", generation_pb2.ScoreRequest, generation_pb2.ScoreResponse),
                "StreamScore": self._stream(
                    "on_stream_score", generation_pb2.StreamScoreRequest, generation_pb2.StreamScoreResponse
                ),
            },
            "seqserve.v1.SessionService": {
                name: self._unary("on_session", requested, answered) for name, (requested, answered) in METHODS.items()
            },
            "seqserve.v1.TaggingService": {
                "Tag": self._unary("on_tag", tagging_pb2.TagRequest, tagging_pb2.TagResponse),
                "StreamTag": self._stream("on_stream_tag", tagging_pb2.StreamTagRequest, tagging_pb2.StreamTagResponse),
            },
            "seqserve.v1.ClassificationService": {
                "Classify": self._unary(
                    "on_classify", classification_pb2.ClassifyRequest, classification_pb2.ClassifyResponse
                ),
                "StreamClassify": self._stream(
                    "on_stream_classify",
                    classification_pb2.StreamClassifyRequest,
                    classification_pb2.StreamClassifyResponse,
                ),
            },
            "seqserve.v1.InfillingService": {
                "FillIn": self._unary("on_fill", infilling_pb2.FillInRequest, infilling_pb2.FillInResponse)
            },
            "seqserve.v1.ModelService": {
                "ListModels": self._unary("on_list_models", model_pb2.ListModelsRequest, model_pb2.ListModelsResponse),
                "GetModel": self._unary("on_get_model", model_pb2.GetModelRequest, model_pb2.GetModelResponse),
                "LoadModel": self._unary("on_load_model", model_pb2.LoadModelRequest, model_pb2.LoadModelResponse),
                "UnloadModel": self._unary(
                    "on_unload_model", model_pb2.UnloadModelRequest, model_pb2.UnloadModelResponse
                ),
            },
            "grpc.health.v1.Health": {
                "Check": self._unary("_check_health", health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse)
            },
        }

    def _unary(
        self, script: str, request_type: type[protobuf.Message], answer_type: type[protobuf.Message]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(request: Any, context: Context) -> protobuf.Message:
            self._note(request, context)
            try:
                script_now: Script[Any, protobuf.Message] = getattr(self, script)
                return await script_now(request)
            except Failure as failure:
                await failure.answer(context)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        return grpc.unary_unary_rpc_method_handler(answer, request_type.FromString, answer_type.SerializeToString)

    def _stream(
        self, script: str, request_type: type[protobuf.Message], answer_type: type[protobuf.Message]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(requests: AsyncIterator[Any], context: Context) -> None:
            first = await anext(requests, None)
            if first is None:  # the caller has left before it said anything
                return
            state: state_pb2.StateOptions = first.config.state

            async def noted() -> AsyncGenerator[Any, None]:
                yield first
                async for request in requests:
                    if request.HasField("end"):
                        return
                    self._note(request, context)
                    yield request
                await asyncio.sleep(_CANCEL_S)  # the caller said no end: that it has left is about to be known

            self._note(first, context)
            try:
                self.sessions.check(state)
                script_now: StreamScript[Any, Any] = getattr(self, script)
                async with contextlib.aclosing(script_now(noted())) as events:
                    async for event in events:
                        if event.HasField("finished"):
                            end = event.finished.state
                            self.sessions.advance(state, end, end.position)
                        await context.write(event)
            except Failure as failure:
                await failure.answer(context)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        return grpc.stream_stream_rpc_method_handler(answer, request_type.FromString, answer_type.SerializeToString)

    async def _generate(self, request: generation_pb2.GenerateRequest, context: Context) -> None:
        self._note(request, context)
        try:
            self.sessions.check(request.state)
            async with contextlib.aclosing(self.on_generate(request)) as events:
                async for event in events:
                    if event.HasField("finished"):
                        end = event.finished
                        self.sessions.advance(request.state, end.state, end.prompt_tokens + end.generated_tokens)
                    await context.write(event)
        except Failure as failure:
            await failure.answer(context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _score(self, request: generation_pb2.ScoreRequest) -> generation_pb2.ScoreResponse:
        self.sessions.check(request.state)
        answer = await self.on_score(request)
        self.sessions.advance(request.state, answer.state, sum(score.scored_tokens for score in answer.scores))
        return answer

    def _note(self, request: Any, context: Context) -> None:
        self.requests.append(request)
        principal = dict(context.invocation_metadata() or ()).get(PRINCIPAL_KEY)
        self.principals.append(principal if isinstance(principal, str) else None)

    async def _check_health(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        if request.service not in self.serving:
            raise Failure(grpc.StatusCode.NOT_FOUND)
        status = health_pb2.HealthCheckResponse
        return status(status=status.SERVING if self.serving[request.service] else status.NOT_SERVING)
