"""A server with scripted answers, for tests of code that uses the client.

It is a real gRPC server on a free loopback port, so that time-outs, cancellation and errors are the real ones; only
what it answers is made up. As it comes it answers `generate` with the prompt, a character a piece, `score` with a
probability of 1/e for every character, and `tag` with the label "X" for every word; replace ``on_generate``,
``on_score``, ``on_tag``, ``on_list_models`` or ``on_get_model`` with a function of the request, and raise `Failure` in
it to answer with an error.

>>> from seqserve.client import Client
>>> from seqserve.client.testing import ScriptedServer
>>> with ScriptedServer() as server, Client(server.target) as client:
...     client.generate("any", "echo").text()
'echo'
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Never, Self, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf import message as protobuf
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

from seqserve.client.errors import FieldViolation, Resource
from seqserve.client.status import DETAILS_KEY, DOMAIN
from seqserve.v1 import common_pb2, generation_pb2, manifest_pb2, model_pb2, state_pb2, tagging_pb2

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

SERVABLE = common_pb2.ServableId(model="scripted", version=1, digest="0" * 64)
"""The servable that every scripted answer names."""


class Failure(Exception):  # noqa: N818 - what a server answers with, not an error of the test
    """Raise it in a script: the call ends with this status.

    Args:
        code: gRPC status code.
        reason: Name of a seqserve.v1.ErrorReason. Empty: a bare status, as gRPC itself or a proxy sends.
        message: Status message.
        metadata: Facts that go with the reason.
        violations: Fields that are wrong.
        resource: What the error is about.
        retry_after_s: When trying again can help, in seconds.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str = "",
        message: str = "scripted",
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        resource: Resource | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status_pb2.Status(code=code.value[0], message=message)
        details: list[protobuf.Message] = []
        if reason:
            details.append(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=dict(metadata or {})))
        if violations:
            field_violation = error_details_pb2.BadRequest.FieldViolation
            wrong = [field_violation(field=one.field, description=one.description) for one in violations]
            details.append(error_details_pb2.BadRequest(field_violations=wrong))
        if resource is not None:
            details.append(error_details_pb2.ResourceInfo(resource_type=resource.kind, resource_name=resource.name))
        if retry_after_s is not None:
            retry_info = error_details_pb2.RetryInfo()
            retry_info.retry_delay.FromNanoseconds(round(retry_after_s * 1e9))
            details.append(retry_info)
        for detail in details:
            self.status.details.add().Pack(detail)

    async def answer(self, context: _Context) -> Never:
        """End the call with this status."""
        metadata = ((DETAILS_KEY, self.status.SerializeToString()),) if self.status.details else ()
        await context.abort(self.code, self.message, metadata)


Script: TypeAlias = Callable[[Asked], Awaitable[Answered]]
"""A unary method: a request in, an answer or a `Failure` out."""


class ScriptedServer:
    """The server. ``with`` runs it in a thread, for blocking code; ``async with`` in the running event loop.

    Attributes:
        target: Its address, once it runs.
        requests: Every request that came, in order.
        cancelled: Set when a call was cancelled while it was being answered.
        serving: What the health service answers, by name of the service.
        on_generate: Answers Generate; as it comes, `echo`.
        on_score: Answers Score; as it comes, `score_characters`.
        on_tag: Answers Tag; as it comes, `tag_words`.
        on_list_models: Answers ListModels; as it comes, `list_one`.
        on_get_model: Answers GetModel; as it comes, `get_one`.
    """

    def __init__(self) -> None:
        self.target = ""
        self.requests: list[Any] = []
        self.cancelled = threading.Event()
        self.serving = {"": True}
        self.on_generate: Callable[
            [generation_pb2.GenerateRequest], AsyncGenerator[generation_pb2.GenerateResponse, None]
        ] = echo
        self.on_score: Script[generation_pb2.ScoreRequest, generation_pb2.ScoreResponse] = score_characters
        self.on_tag: Script[tagging_pb2.TagRequest, tagging_pb2.TagResponse] = tag_words
        self.on_list_models: Script[model_pb2.ListModelsRequest, model_pb2.ListModelsResponse] = list_one
        self.on_get_model: Script[model_pb2.GetModelRequest, model_pb2.GetModelResponse] = get_one
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
                "Score": self._unary("on_score", generation_pb2.ScoreRequest, generation_pb2.ScoreResponse),
            },
            "seqserve.v1.TaggingService": {
                "Tag": self._unary("on_tag", tagging_pb2.TagRequest, tagging_pb2.TagResponse)
            },
            "seqserve.v1.ModelService": {
                "ListModels": self._unary("on_list_models", model_pb2.ListModelsRequest, model_pb2.ListModelsResponse),
                "GetModel": self._unary("on_get_model", model_pb2.GetModelRequest, model_pb2.GetModelResponse),
            },
            "grpc.health.v1.Health": {
                "Check": self._unary("_check_health", health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse)
            },
        }

    def _unary(
        self, script: str, request_type: type[protobuf.Message], answer_type: type[protobuf.Message]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(request: Any, context: _Context) -> protobuf.Message:
            self.requests.append(request)
            try:
                script_now: Script[Any, protobuf.Message] = getattr(self, script)
                return await script_now(request)
            except Failure as failure:
                await failure.answer(context)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        return grpc.unary_unary_rpc_method_handler(answer, request_type.FromString, answer_type.SerializeToString)

    async def _generate(self, request: generation_pb2.GenerateRequest, context: _Context) -> None:
        self.requests.append(request)
        try:
            async with contextlib.aclosing(self.on_generate(request)) as events:
                async for event in events:
                    await context.write(event)
        except Failure as failure:
            await failure.answer(context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _check_health(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        if request.service not in self.serving:
            raise Failure(grpc.StatusCode.NOT_FOUND)
        status = health_pb2.HealthCheckResponse
        return status(status=status.SERVING if self.serving[request.service] else status.NOT_SERVING)


def started(seed: int = 0, prompt_tokens: int = 0) -> generation_pb2.GenerateResponse:
    """The first event of a generation."""
    return generation_pb2.GenerateResponse(
        started=generation_pb2.GenerationStarted(
            servable=SERVABLE, seed=seed, prompt_tokens=prompt_tokens, position=prompt_tokens
        )
    )


def piece(text: str, position: int = 0, *, sample: int = 0) -> generation_pb2.GenerateResponse:
    """An event with some text, of which each character is a token whose id is its code point."""
    return generation_pb2.GenerateResponse(
        piece=generation_pb2.GenerationPiece(
            sample=sample, text=text, token_ids=[ord(character) for character in text], position=position
        )
    )


def finished(tokens: int, prompt_tokens: int = 0, *, samples: int = 1) -> generation_pb2.GenerateResponse:
    """The last event of a generation: every sample reached ``max_tokens``."""
    ends = [
        generation_pb2.SampleFinished(sample=index, reason=generation_pb2.FINISH_REASON_LENGTH, tokens=tokens)
        for index in range(samples)
    ]
    return generation_pb2.GenerateResponse(
        finished=generation_pb2.GenerationFinished(
            samples=ends,
            prompt_tokens=prompt_tokens,
            generated_tokens=tokens * samples,
            timing=common_pb2.Timing(queue_ms=1.0, first_output_ms=2.0, total_ms=10.0),
            state=state_pb2.StateResult(position=prompt_tokens + tokens),
        )
    )


async def echo(
    request: generation_pb2.GenerateRequest,
) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
    """Generate the prompt once more, a character a piece."""
    length = len(request.text)
    yield started(request.sampling.seed, length)
    for index, character in enumerate(request.text):
        yield piece(character, length + index)
    yield finished(length, length)


async def score_characters(request: generation_pb2.ScoreRequest) -> generation_pb2.ScoreResponse:
    """Give every character, or token id, a log-probability of -1 nat."""
    texts = [one.text or "".join(map(chr, one.token_ids.ids)) for one in request.inputs]
    return generation_pb2.ScoreResponse(
        servable=SERVABLE,
        scores=[
            generation_pb2.SequenceScore(
                logprob=-len(text),
                scored_tokens=len(text),
                perplexity=math.e if text else 1.0,
                tokens=_steps(text, request.logprobs) if request.HasField("logprobs") else (),
            )
            for text in texts
        ],
        timing=common_pb2.Timing(queue_ms=1.0, first_output_ms=2.0, total_ms=2.0),
    )


async def tag_words(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
    """Label every word "X"."""
    texts = [one.text or " ".join(one.words.words) for one in request.inputs]
    return tagging_pb2.TagResponse(
        servable=SERVABLE, sequences=[tagging_pb2.TaggedSequence(tags=_tags(text)) for text in texts]
    )


async def list_one(request: model_pb2.ListModelsRequest) -> model_pb2.ListModelsResponse:  # noqa: ARG001
    """List the one servable that answers everything."""
    return model_pb2.ListModelsResponse(models=[_MODEL])


async def get_one(request: model_pb2.GetModelRequest) -> model_pb2.GetModelResponse:  # noqa: ARG001
    """Tell about the one servable."""
    return model_pb2.GetModelResponse(model=_MODEL)


_MODEL = model_pb2.Model(
    servable=SERVABLE,
    task=manifest_pb2.TASK_LANGUAGE_MODEL,
    state=model_pb2.MODEL_STATE_READY,
    provider="CPUExecutionProvider",
)


def _steps(text: str, top: int) -> list[common_pb2.StepLogprobs]:
    tokens = [common_pb2.TokenLogprob(token_id=ord(one), token=one, logprob=-1.0, rank=1) for one in text]
    return [common_pb2.StepLogprobs(chosen=token, top=[token] * min(top, 1)) for token in tokens]


def _tags(text: str) -> list[tagging_pb2.Tag]:
    return [
        tagging_pb2.Tag(
            token=word[0],
            label="X",
            score=0.5,
            offsets=common_pb2.Offsets(start=word.start(), end=word.end()),
            position=position,
        )
        for position, word in enumerate(re.finditer(r"\S+", text))
    ]
