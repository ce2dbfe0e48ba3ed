"""A session: the memory of a sequence that stays on the server between requests."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from seqserve.client._async.calls import AsyncCalls
from seqserve.client._async.concurrency import AsyncSource, run_in_thread
from seqserve.client._async.duplex_stream import AsyncClassifyStream, AsyncScoreStream, AsyncTagStream
from seqserve.client._async.generation_stream import AsyncGenerationStream
from seqserve.client.core.classify_stream import ClassifyItem, ClassifyStreamOptions
from seqserve.client.core.generate_options import GenerateOptions, Prompt
from seqserve.client.core.score_stream import ScoreItem, ScoreStreamOptions
from seqserve.client.core.session_record import Opening, SessionRecord, write_snapshot
from seqserve.client.core.signatures import show_options
from seqserve.client.core.tag_stream import TagItem, TagStreamOptions
from seqserve.client.errors import NotFoundError, SeqserveError, SessionExistsError
from seqserve.client.types.answer import state_from_wire
from seqserve.client.types.scoring import ScoreText, TextScore, text_scores_from_wire
from seqserve.client.types.sessions import (
    PAGE_SIZE,
    SessionInfo,
    duration,
    fork_request,
    import_request,
    new_request_id,
    next_page,
    session_from_wire,
)
from seqserve.v1 import session_pb2


class AsyncSession(SessionRecord):
    """A sequence that continues from request to request. The server keeps its state.

    >>> async with client.session("shakespeare-char") as session:  # doctest: +SKIP
    ...     print(await session.generate("ROMEO:", max_tokens=80).text())
    ...     other = await session.fork()
    ...     print(await session.generate(max_tokens=80, seed=1).text())
    ...     print(await other.generate(max_tokens=80, seed=1).text())  # the same
    ...     await session.save("romeo.session")

    Every request that advances it carries the expected position and a unique id: a request that is repeated, or
    resumed on another replica, is applied once. A request whose answer was not read to its end may or may not have
    been applied: if it was, the next request raises PositionMismatchError; call `info()` to continue from there.
    """

    def __init__(
        self, calls: AsyncCalls, opening: Opening | None = None, info: SessionInfo | None = None, *, keep: bool = True
    ) -> None:
        """Made by `AsyncClient.session`, `AsyncClient.sessions` and `fork`."""
        super().__init__(opening, info, keep=keep)
        self._calls = calls
        self._all = AsyncSessions(calls)

    async def open(self) -> Self:
        """Creates the session, or opens the existing one of the given id. Entering the ``with`` block does the same.

        Raises:
            ServableMismatchError: If the one of that id is of another model or version.
            SeqserveError: If the call failed.
        """
        if self._info is None and self._opening is not None:
            try:
                created = await self._calls.ask(self._calls.sessions.CreateSession, self._opening.request)
                self._learn(session_from_wire(created.session))
            except SessionExistsError:
                if not self._opening.named:
                    raise
                self._learn(self._opening.check(await self._all.get(self._opening.request.session_id)))
        return self

    @show_options(GenerateOptions)
    def generate(
        self,
        prompt: Prompt = "",
        *,
        checkpoint: str | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
        deadline_s: float | None = None,
        resume_s: float | None = None,
        **options: Unpack[GenerateOptions],
    ) -> AsyncGenerationStream:
        """Continues the sequence with a prompt, or without one. The call is made when the stream is first read.

        Args:
            prompt: Text or token ids; none: continues the text without a prompt.
            checkpoint: Name under which the state at the end is kept, to fork from or rewind to.
            wait: Wait while another request advances the session, including an own request that was left early and is
                still ending among them. Default: SessionBusyError.
            timeout_s: As `AsyncClient.generate`.
            deadline_s: As `AsyncClient.generate`.
            resume_s: As `AsyncClient.generate`.
            options: As `GenerateOptions` says.
        """
        request = self._generate_request(prompt, checkpoint, options, wait=wait)
        return self._calls.generate(request, timeout_s, deadline_s, resume_s, self._ended)

    async def score(
        self,
        text: ScoreText,
        *,
        checkpoint: str | None = None,
        wait: bool = False,
        logprobs: int | None = None,
        timeout_s: float | None = None,
    ) -> TextScore:
        """Scores a text as the continuation, and advances the session by it. Arguments as in `generate`."""
        request = self._score_request(text, checkpoint, logprobs, wait=wait)
        answer = await self._calls.ask(self._calls.generation.Score, request, timeout_s)
        self._advanced(state_from_wire(answer.state))
        return text_scores_from_wire(answer, 1)[0]

    @show_options(TagStreamOptions)
    def stream_tag(
        self,
        source: AsyncSource[TagItem],
        *,
        checkpoint: str | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
        **options: Unpack[TagStreamOptions],
    ) -> AsyncTagStream:
        """Tags a text that arrives piece by piece as the continuation. The session is advanced at the end.

        Args:
            source: As in `AsyncClient.stream_tag`.
            checkpoint: As in `generate`.
            wait: As in `generate`.
            timeout_s: As in `AsyncClient.stream_tag`.
            options: As `TagStreamOptions` says.
        """
        codec = self._tag_codec(checkpoint, options, wait=wait)
        return self._calls.feed(
            lambda: self._calls.tagging.StreamTag,
            codec,
            source,
            timeout_s,
            self._ended,
        )

    @show_options(ScoreStreamOptions)
    def stream_score(
        self,
        source: AsyncSource[ScoreItem],
        *,
        checkpoint: str | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
        **options: Unpack[ScoreStreamOptions],
    ) -> AsyncScoreStream:
        """The same with the log-probability of each token, by a language model. Arguments as in `stream_tag`."""
        codec = self._score_codec(checkpoint, options, wait=wait)
        return self._calls.feed(
            lambda: self._calls.generation.StreamScore,
            codec,
            source,
            timeout_s,
            self._ended,
        )

    @show_options(ClassifyStreamOptions)
    def stream_classify(
        self,
        source: AsyncSource[ClassifyItem],
        *,
        checkpoint: str | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
        **options: Unpack[ClassifyStreamOptions],
    ) -> AsyncClassifyStream:
        """The same with a classification of the whole text after each piece. Arguments as in `stream_tag`."""
        codec = self._classify_codec(checkpoint, options, wait=wait)
        return self._calls.feed(
            lambda: self._calls.classification.StreamClassify, codec, source, timeout_s, self._ended
        )

    async def info(self) -> SessionInfo:
        """The session as the server has it. This does not count as use."""
        return self._learn(await self._all.get(self.id))

    async def touch(self, ttl_s: float | None = None) -> SessionInfo:
        """Postpones the expiry.

        Args:
            ttl_s: New time to live in seconds. Default: as it was.
        """
        request = session_pb2.TouchSessionRequest(session_id=self.id, ttl=duration(ttl_s))
        answer = await self._calls.ask(self._calls.sessions.TouchSession, request)
        return self._learn(session_from_wire(answer.session))

    async def fork(
        self,
        session_id: str | None = None,
        *,
        checkpoint: str | None = None,
        ttl_s: float | None = None,
        keep: bool | None = None,
    ) -> AsyncSession:
        """Copies the session. The copy advances independently; this session does not change.

        Args:
            session_id: Id of the copy. Default: the server draws one.
            checkpoint: Copy the state that was kept under this name. Default: as it is now.
            ttl_s: Time to live of the copy in seconds. Default: as this one's.
            keep: Whether the copy stays at the end of its ``with`` block. Default: if it was given an id.
        """
        request = fork_request(self.id, session_id, checkpoint=checkpoint, position=self.position, ttl_s=ttl_s)
        answer = await self._calls.ask(self._calls.sessions.ForkSession, request)
        keep = session_id is not None if keep is None else keep
        return AsyncSession(self._calls, info=session_from_wire(answer.session), keep=keep)

    async def rewind(self, checkpoint: str) -> SessionInfo:
        """Rewinds the session to a checkpoint and drops later checkpoints."""
        request = session_pb2.RewindSessionRequest(
            session_id=self.id,
            checkpoint=checkpoint,
            expected_position=self.position,
            request_id=new_request_id(),
        )
        answer = await self._calls.ask(self._calls.sessions.RewindSession, request)
        return self._learn(session_from_wire(answer.session))

    async def export(self, checkpoint: str | None = None) -> bytes:
        """The session as a snapshot.

        Args:
            checkpoint: As it was kept there. Default: as it is now.
        """
        request = session_pb2.ExportSessionRequest(session_id=self.id, checkpoint=checkpoint or "")
        answer = await self._calls.ask(self._calls.sessions.ExportSession, request)
        return answer.snapshot

    async def save(self, path: Path | str, checkpoint: str | None = None) -> None:
        """Writes the session to a file that only its owner may read.

        Raises:
            OSError: If it cannot be written.
        """
        snapshot = await self.export(checkpoint)
        await run_in_thread(write_snapshot, Path(path), snapshot)

    async def delete(self) -> None:
        """Deletes the session on the server.

        Raises:
            SessionNotFoundError: If it is gone already.
        """
        await self._all.delete(self.id)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.keep or self._info is None:
            return
        try:
            await self._all.delete(self.id, resume_s=None if error is None else 0.0)
        except NotFoundError:
            return
        except (SeqserveError, RuntimeError):
            if error is None:  # else the block's own error is the one to tell; the session expires by itself
                raise


class AsyncSessions:
    """A caller's sessions on a server."""

    def __init__(self, calls: AsyncCalls) -> None:
        """Made by `AsyncClient`."""
        self._calls = calls

    async def list(self, model: str | None = None) -> list[SessionInfo]:
        """All of the caller's sessions, in order of their ids.

        Args:
            model: Only those of this model.
        """
        found: list[SessionInfo] = []
        request: session_pb2.ListSessionsRequest | None
        request = session_pb2.ListSessionsRequest(page_size=PAGE_SIZE, model=model or "")
        while request is not None:
            page = await self._calls.ask(self._calls.sessions.ListSessions, request)
            found += [session_from_wire(one) for one in page.sessions]
            request = next_page(request, page)
        return found

    async def get(self, session_id: str) -> SessionInfo:
        """A session as the server has it.

        Raises:
            SessionNotFoundError: If there is none of that id; SessionExpiredError if there was one.
        """
        request = session_pb2.GetSessionRequest(session_id=session_id)
        answer = await self._calls.ask(self._calls.sessions.GetSession, request)
        return session_from_wire(answer.session)

    async def open(self, session_id: str) -> AsyncSession:
        """A session that is there; it stays at the end of a ``with`` block. Raises: as `get`."""
        return AsyncSession(self._calls, info=await self.get(session_id))

    async def delete(self, session_id: str, *, resume_s: float | None = None) -> None:
        """Deletes a session.

        Args:
            session_id: Its id.
            resume_s: Seconds for which this is tried again. Default: the client's.

        Raises:
            SessionNotFoundError: as `get`.
        """
        request, retry_policy = (
            session_pb2.DeleteSessionRequest(session_id=session_id),
            self._calls.retry_policy(resume_s),
        )
        try:
            await self._calls.ask(self._calls.sessions.DeleteSession, request, retry_policy=retry_policy)
        except NotFoundError:
            if not retry_policy.tried_again:  # else an attempt whose answer was lost has deleted it
                raise

    async def restore(
        self, snapshot: bytes, session_id: str | None = None, *, ttl_s: float | None = None, keep: bool | None = None
    ) -> AsyncSession:
        """Creates a session from a snapshot.

        Args:
            snapshot: As `Session.export`, or a generation's end, gave it.
            session_id: Id of the new session. Default: the server draws one.
            ttl_s: Time to live in seconds. Default: the server's.
            keep: Whether it stays at the end of its ``with`` block. Default: if it was given an id.

        Raises:
            SnapshotInvalidError: If it is broken; ServableMismatchError: if the server does not have its model.
        """
        request = import_request(snapshot, session_id, ttl_s=ttl_s)
        answer = await self._calls.ask(self._calls.sessions.ImportSession, request)
        keep = session_id is not None if keep is None else keep
        return AsyncSession(self._calls, info=session_from_wire(answer.session), keep=keep)

    async def load(
        self, path: Path | str, session_id: str | None = None, *, ttl_s: float | None = None, keep: bool | None = None
    ) -> AsyncSession:
        """As `restore`, of a file that `Session.save` wrote. Raises: also OSError if it cannot be read."""
        snapshot = await run_in_thread(Path(path).read_bytes)
        return await self.restore(snapshot, session_id, ttl_s=ttl_s, keep=keep)
