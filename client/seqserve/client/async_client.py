"""The client for asyncio: the counterpart of `client`, with the same methods."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from types import TracebackType
from typing import Self, Unpack, overload

import grpc.aio
from grpc_health.v1 import health_pb2

from seqserve.client.answer import model_ref
from seqserve.client.async_calls import AsyncCalls
from seqserve.client.async_session import AsyncSession, AsyncSessions
from seqserve.client.async_transport import AsyncTransport
from seqserve.client.errors import NotFoundError
from seqserve.client.generate_options import GenerateOptions, Prompt, generate_request
from seqserve.client.health import HEALTH_CHECK, HealthStatus, health_from_wire
from seqserve.client.models import Model, ModelDetails, details_from_wire, model_from_wire, next_page
from seqserve.client.patience import RESUME_S_DEFAULT
from seqserve.client.scoring import ScoreText, TextScore, score_request, text_scores_from_wire
from seqserve.client.session_record import Opening
from seqserve.client.sessions import create_request
from seqserve.client.streams import AsyncGenerationStream
from seqserve.client.tagging import OffsetUnit, TaggedText, TagText, tag_request, tagged_texts_from_wire
from seqserve.client.transport import TIMEOUT_S_DEFAULT
from seqserve.v1 import model_pb2, model_pb2_grpc, tagging_pb2_grpc


class AsyncClient:
    """Calls a seqserve server from asyncio. Belongs to the event loop in which it is first used.

    >>> from seqserve.client import AsyncClient
    >>> async with AsyncClient("localhost:50051") as client:  # doctest: +SKIP
    ...     print(await client.generate("shakespeare-char", "ROMEO:", max_tokens=100, seed=1).text())
    ...     for tag in (await client.tag("english-pos", "Time flies like an arrow.")).tags:
    ...         print(tag.token, tag.label)

    Making a client does not connect; the first call does, and finds a restarted server again by itself. Calls that
    change nothing (`score`, `tag`, `models`, `model`) are repeated up to three times when the server is unavailable.

    Args:
        target: HOST, HOST:PORT (port 50051 if left out), or any gRPC name ("unix:/run/seqserve.sock").
        timeout_s: Default time-out of a call in seconds; math.inf for none. For `generate` it limits the wait for each
            next message, for all else the whole call.
        resume_s: Seconds for which a stream that broke, and a call about a session, is tried again while the server is
            away or no more of it comes; 0 for not at all. A wrong address is told at once.
        principal: Who calls: sessions belong to the principal that created them. Default: nobody in particular, who
            owns the sessions of all such callers.
        channel: A channel to use instead of opening one to ``target``, for TLS, interceptors or a fake; it stays the
            caller's to close, and `CHANNEL_OPTIONS` are the options to open it with. ``target`` then only serves
            messages.

    Raises:
        ValueError: if ``target`` is not an address.
    """

    def __init__(
        self,
        target: str = "localhost",
        *,
        timeout_s: float = TIMEOUT_S_DEFAULT,
        resume_s: float = RESUME_S_DEFAULT,
        principal: str | None = None,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self._transport = AsyncTransport(target, channel, principal)
        self._calls = AsyncCalls(self._transport, timeout_s=timeout_s, resume_s=resume_s)
        self.sessions = AsyncSessions(self._calls)
        """The caller's sessions on the server: list, get, open, delete, restore, load."""

    @property
    def target(self) -> str:
        """The address that is called, port included."""
        return self._transport.target

    @cached_property
    def _tagging(self) -> tagging_pb2_grpc.TaggingServiceAsyncStub:
        return tagging_pb2_grpc.TaggingServiceStub(self._transport.channel)

    @cached_property
    def _models(self) -> model_pb2_grpc.ModelServiceAsyncStub:
        return model_pb2_grpc.ModelServiceStub(self._transport.channel)

    def generate(
        self,
        model: str,
        prompt: Prompt = "",
        *,
        timeout_s: float | None = None,
        deadline_s: float | None = None,
        resume_s: float | None = None,
        **options: Unpack[GenerateOptions],
    ) -> AsyncGenerationStream:
        """Generate text from a prompt, as a stream of pieces. The call is made when the stream is first read.

        A stream that breaks is asked for again, from the last token that came: the same text, on the same server, one
        that was restarted, or another replica.

        Args:
            model: Name of the model.
            prompt: Text or token ids; none: the model's start token.
            timeout_s: Longest wait for each next message, in seconds. Default: the client's.
            deadline_s: Most seconds for the whole generation; the server is told and stops at it. Default: no limit.
            resume_s: Seconds for which a broken stream is tried again. Default: the client's.
            options: As `GenerateOptions` says: temperature, max_tokens, seed, stop, and so on. Only what is given is
                sent; for all else the model's defaults hold.

        Raises:
            TypeError, ValueError: if an option is unknown, of the wrong type or does not fit its field. What the server
                refuses comes as a SeqserveError from the first read.
        """
        request = generate_request(model, prompt, **options)
        return self._calls.generate(request, timeout_s, deadline_s, resume_s)

    def session(
        self,
        model: str,
        session_id: str | None = None,
        *,
        version: int | None = None,
        ttl_s: float | None = None,
        keep_tokens: bool = False,
        keep: bool | None = None,
    ) -> AsyncSession:
        """A session, opened by the ``async with`` block: created, or found if there is one of that id.

        Args:
            model: Name of the model.
            session_id: Its id: 1 to 128 characters out of letters, digits, '.', '_', '-'. Default: the server's choice.
            version: Version of the model. Default: the newest that is ready.
            ttl_s: Seconds that it lives from its last use. Default: the server's.
            keep_tokens: Keep its tokens too, so that it can be read again by another version of the model.
            keep: Whether it stays at the end of the block. Default: if it was given an id.
        """
        request = create_request(model, session_id, version=version, ttl_s=ttl_s, keep_tokens=keep_tokens)
        named = session_id is not None
        return AsyncSession(self._calls, Opening(request, named, named if keep is None else keep))

    @overload
    async def score(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload] - str is Sequence[str]
        self,
        model: str,
        texts: str,
        *,
        version: int | None = None,
        logprobs: int | None = None,
        timeout_s: float | None = None,
    ) -> TextScore: ...

    @overload
    async def score(
        self,
        model: str,
        texts: Sequence[ScoreText],
        *,
        version: int | None = None,
        logprobs: int | None = None,
        timeout_s: float | None = None,
    ) -> list[TextScore]: ...

    async def score(
        self,
        model: str,
        texts: str | Sequence[ScoreText],
        *,
        version: int | None = None,
        logprobs: int | None = None,
        timeout_s: float | None = None,
    ) -> TextScore | list[TextScore]:
        """Tell how likely a language model finds one text or several, each for itself.

        Args:
            model: Name of the model.
            texts: A text, for one answer; or a list of texts, for a list of answers. In the list a text is a str or a
                list of token ids: ``["ab", "c"]`` are two texts, ``[[1, 2]]`` is one of two tokens.
            version: Version of the model. Default: the newest that is ready.
            logprobs: Return each token's log-probability with this many likeliest alternatives, in [0, 20]. Default:
                totals only.
            timeout_s: Most seconds for the call. Default: the client's.

        Raises:
            TypeError: if a text is neither a str nor token ids.
            SeqserveError: if the call failed.
        """
        one = isinstance(texts, str)
        sent = [texts] if isinstance(texts, str) else texts
        request = score_request(model, sent, version=version, logprobs=logprobs)
        answer = await self._transport.call(
            self._calls.generation.Score, request, timeout_s=self._calls.limit_s(timeout_s)
        )
        scores = text_scores_from_wire(answer, len(sent))
        return scores[0] if one else scores

    @overload
    async def tag(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload] - str is Sequence[str]
        self,
        model: str,
        texts: str,
        *,
        version: int | None = None,
        top_labels: int | None = None,
        spans: bool = False,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
    ) -> TaggedText: ...

    @overload
    async def tag(
        self,
        model: str,
        texts: Sequence[TagText],
        *,
        version: int | None = None,
        top_labels: int | None = None,
        spans: bool = False,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
    ) -> list[TaggedText]: ...

    async def tag(
        self,
        model: str,
        texts: str | Sequence[TagText],
        *,
        version: int | None = None,
        top_labels: int | None = None,
        spans: bool = False,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
    ) -> TaggedText | list[TaggedText]:
        """Label every token of one text or of several; each text is one sentence to the model.

        Args:
            model: Name of the model.
            texts: A text, for one answer; or a list of texts, for a list of answers. In the list a text is a str, which
                the model cuts into tokens, or a list of words, which stay as they are: ``["a b", "c"]`` are two
                texts, ``[["a", "b"]]`` is one of two words.
            version: Version of the model. Default: the newest that is ready.
            top_labels: Best labels to return for each token, in [0, 20]. Default: 0.
            spans: Also return spans, for models whose labels are BIO or BIOES.
            offset_unit: Unit of the offsets. Default: characters.
            timeout_s: Most seconds for the call. Default: the client's.

        Raises:
            SeqserveError: if the call failed.
        """
        one = isinstance(texts, str)
        sent = [texts] if isinstance(texts, str) else texts
        request = tag_request(model, sent, version=version, top_labels=top_labels, spans=spans, offset_unit=offset_unit)
        answer = await self._transport.call(self._tagging.Tag, request, timeout_s=self._calls.limit_s(timeout_s))
        tagged = tagged_texts_from_wire(sent, answer)
        return tagged[0] if one else tagged

    async def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Every version of every model in the server's repository, also those that could not be loaded.

        Args:
            timeout_s: Most seconds for each page of the list. Default: the client's.

        Raises:
            SeqserveError: if a call failed.
        """
        models: list[Model] = []
        request: model_pb2.ListModelsRequest | None = model_pb2.ListModelsRequest()
        while request is not None:
            page = await self._transport.call(
                self._models.ListModels, request, timeout_s=self._calls.limit_s(timeout_s)
            )
            models += [model_from_wire(model) for model in page.models]
            request = next_page(request, page)
        return models

    async def model(self, name: str, version: int | None = None, *, timeout_s: float | None = None) -> ModelDetails:
        """All about one version of a model: task, limits, labels, metrics, manifest.

        Args:
            name: Name of the model.
            version: Version. Default: the newest that is ready.
            timeout_s: Most seconds for the call. Default: the client's.

        Raises:
            ModelNotFoundError: if the server does not have it.
            SeqserveError: if the call failed otherwise.
        """
        request = model_pb2.GetModelRequest(model=model_ref(name, version))
        return details_from_wire(
            await self._transport.call(self._models.GetModel, request, timeout_s=self._calls.limit_s(timeout_s))
        )

    async def health(self, service: str = "", *, timeout_s: float | None = None) -> HealthStatus:
        """Whether the server, or one of its services, serves.

        Args:
            service: Full name of a service ("seqserve.v1.TaggingService"). Default: the server as a whole.
            timeout_s: Most seconds for the call. Default: the client's.

        Raises:
            UnreachableError: if no server answers.
            SeqserveError: if the call failed otherwise.
        """
        check = self._transport.channel.unary_unary(
            HEALTH_CHECK,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            return health_from_wire(
                await self._transport.call(check, request, timeout_s=self._calls.limit_s(timeout_s))
            )
        except NotFoundError:  # how grpc.health.v1 says it
            return HealthStatus.SERVICE_UNKNOWN

    async def close(self) -> None:
        """Cancel what runs and close the connection; a closed client raises RuntimeError."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
