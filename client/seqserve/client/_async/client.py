"""The asyncio client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, Unpack

import grpc.aio

from seqserve.client._async.bulk import answer_many
from seqserve.client._async.calls import AsyncCalls
from seqserve.client._async.concurrency import AsyncSource
from seqserve.client._async.generation_stream import AsyncGenerationStream
from seqserve.client._async.methods.classification import AsyncClassificationMethods
from seqserve.client._async.methods.infilling import AsyncInfillingMethods
from seqserve.client._async.methods.models import AsyncModelMethods
from seqserve.client._async.methods.scoring import AsyncScoringMethods
from seqserve.client._async.methods.tagging import AsyncTaggingMethods
from seqserve.client._async.session import AsyncSession, AsyncSessions
from seqserve.client._async.transport import AsyncTransport
from seqserve.client.core.bulk import CONCURRENCY_DEFAULT, check_bulk
from seqserve.client.core.channel import TIMEOUT_S_DEFAULT
from seqserve.client.core.generate_options import GenerateOptions, Prompt, generate_request
from seqserve.client.core.request_size import REQUEST_BYTES_MAX
from seqserve.client.core.retry_policy import RESUME_S_DEFAULT
from seqserve.client.core.session_record import Opening
from seqserve.client.core.signatures import show_options
from seqserve.client.core.stream import check_source
from seqserve.client.types.generation import GeneratedText
from seqserve.client.types.sessions import create_request


class AsyncClient(
    AsyncScoringMethods, AsyncTaggingMethods, AsyncClassificationMethods, AsyncInfillingMethods, AsyncModelMethods
):
    """Calls a seqserve server from asyncio. Belongs to the event loop in which it is first used.

    >>> from seqserve.client import AsyncClient
    >>> async with AsyncClient("localhost:50051") as client:  # doctest: +SKIP
    ...     print(await client.generate("shakespeare-char", "ROMEO:", max_tokens=100, seed=1).text())
    ...     tagged = await client.tag("english-pos", "Time flies like an arrow.")
    ...     print([(tag.token, tag.label) for tag in tagged.tags])

    Making a client does not connect; the first call does, and finds a restarted server again by itself. Calls that
    change nothing (`score`, `tag`, `classify`, `fill`, `models`, `model`) are repeated up to three times when the
    server is unavailable.

    Args:
        target: HOST, HOST:PORT (port 50051 if left out), or any gRPC name ("unix:/run/seqserve.sock").
        timeout_s: Default time-out of a call in seconds; math.inf for none. For `generate` it limits the wait for each
            next message, for `stream_tag` and its like the wait for the server while it is its turn, for all else the
            whole call.
        resume_s: Seconds for which a stream that broke, and a call about a session, is tried again while the server is
            away or no more of it comes; 0 for not at all. A wrong address raises UnreachableError immediately.
        principal: Who calls: sessions belong to the principal that created them. Default: nobody in particular, who
            owns the sessions of all such callers.
        request_bytes_max: Maximum size of a request, in bytes; larger ones raise InputTooLongError and are not sent.
            Default: the default of the server's ``limits.message_bytes_max``, 17 MiB.
        channel: A channel to use instead of opening one to ``target``, for TLS, interceptors or a fake; it stays the
            caller's to close, and `CHANNEL_OPTIONS` are the options to open it with. ``target`` then only serves
            messages.

    Raises:
        ValueError: If ``target`` is not an address.
    """

    def __init__(
        self,
        target: str = "localhost",
        *,
        timeout_s: float = TIMEOUT_S_DEFAULT,
        resume_s: float = RESUME_S_DEFAULT,
        principal: str | None = None,
        request_bytes_max: int = REQUEST_BYTES_MAX,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self._transport = AsyncTransport(target, channel, principal)
        super().__init__(
            AsyncCalls(self._transport, timeout_s=timeout_s, resume_s=resume_s, request_bytes_max=request_bytes_max)
        )
        self.sessions = AsyncSessions(self._calls)
        """The caller's sessions on the server: list, get, open, delete, restore, load."""

    @property
    def target(self) -> str:
        """The server's address, including the port."""
        return self._transport.target

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.target}>"

    @show_options(GenerateOptions)
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
            deadline_s: Maximum time for the whole generation, in seconds; the server stops at it. Default: no limit.
            resume_s: Seconds for which a broken stream is tried again. Default: the client's.
            options: As `GenerateOptions` says: temperature, max_tokens, seed, stop, and so on. Only what is given is
                sent; for all else the model's defaults hold.

        Raises:
            TypeError, ValueError: If an option is unknown, of the wrong type or does not fit its field. What the server
                refuses comes as a SeqserveError from the first read.
        """
        request = generate_request(model, prompt, **options)
        return self._calls.generate(request, timeout_s, deadline_s, resume_s)

    @show_options(GenerateOptions)
    def generate_many(
        self,
        model: str,
        prompts: AsyncSource[Prompt],
        *,
        timeout_s: float | None = None,
        deadline_s: float | None = None,
        resume_s: float | None = None,
        concurrency: int = CONCURRENCY_DEFAULT,
        **options: Unpack[GenerateOptions],
    ) -> AsyncIterator[GeneratedText | Exception]:
        """Generates a text from each of any number of prompts.

        Args:
            model: Name of the model.
            prompts: Any number of prompts from an iterable, generators included, each as in `generate`. It is read as
                fast as the texts are taken.
            timeout_s: As in `generate`.
            deadline_s: As in `generate`, for each text.
            resume_s: As in `generate`, for each text. A generation that the server cannot admit now, because its queue
                is full, is retried for this time too.
            concurrency: Maximum number of generations at the same time.
            options: As in `generate`.

        Returns:
            The texts, in the order of the prompts; iterate for them. In place of a text stands the exception of a
            prompt that failed. An error of one prompt does not affect the others. If the source raises an exception,
            it is raised after the texts before it.

        Raises:
            TypeError: ``prompts`` is a single prompt, or an option is unknown or of the wrong type.
            ValueError: An option does not fit its field.
        """
        check_source(prompts)
        check_bulk(1, concurrency)
        generate_request(model, "", **options)

        async def call(chunk: list[Prompt]) -> list[GeneratedText]:
            stream = self.generate(
                model, chunk[0], timeout_s=timeout_s, deadline_s=deadline_s, resume_s=resume_s, **options
            )
            await stream.text()
            samples = range(len(stream.finished.samples))
            texts = [await stream.text(sample) for sample in samples]
            return [GeneratedText(tuple(texts), stream.started, stream.finished)]

        return answer_many(self._calls, call, prompts, chunk_size=1, concurrency=concurrency)

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
            version: Version of the model. Default: the newest version that serves.
            ttl_s: Seconds that it lives from its last use. Default: the server's.
            keep_tokens: Keep its tokens too, so that it can be read again by another version of the model.
            keep: Whether it stays at the end of the block. Default: if it was given an id.
        """
        request = create_request(model, session_id, version=version, ttl_s=ttl_s, keep_tokens=keep_tokens)
        named = session_id is not None
        return AsyncSession(self._calls, Opening(request, named, named if keep is None else keep))

    async def close(self) -> None:
        """Cancels running calls and closes the connection. Calls of a closed client raise RuntimeError."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
