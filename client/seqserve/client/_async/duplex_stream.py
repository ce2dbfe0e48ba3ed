"""A stream that is fed and read at once.

The call is made when the stream is first read. From then on the source is read as fast as the server takes its pieces,
and the server takes them as fast as its answers are read: nothing accumulates in between. The call ends with the
stream: at the end of the source, on ``cancel``, on leaving the ``async with`` block, on leaving the loop early, and
when the source fails.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, TypeAlias

from seqserve.client._async.input_pump import AsyncInputPump
from seqserve.client._async.messages import AsyncMessages
from seqserve.client.core.classify_stream import ClassifyFinished
from seqserve.client.core.score_stream import ScoredToken, ScoreFinished, ScorePiece
from seqserve.client.core.stream import FinishedT, PartT, PieceT, StreamCodec, StreamRecord, StreamStarted
from seqserve.client.core.tag_stream import TagFinished, TagPiece
from seqserve.client.errors import SeqserveError
from seqserve.client.types.classification import Classification
from seqserve.client.types.tagging import Tag


class AsyncDuplexStream(StreamRecord[PieceT, PartT, FinishedT]):
    """Answers to a source that is read as it goes; iterate for them one by one.

    >>> async with client.stream_tag("english-pos", pieces_of_text) as stream:  # doctest: +SKIP
    ...     async for tag in stream:
    ...         print(tag.token, tag.label)
    ...     print(stream.finished.tokens)

    The source is read in its own task, so it may wait: for input, or for the answers. A source that waits
    when the stream is left is cancelled.
    """

    def __init__(
        self,
        pump: AsyncInputPump,
        codec: StreamCodec[PieceT, PartT, FinishedT],
        on_finished: Callable[[FinishedT], None],
    ) -> None:
        """Made by the client's ``stream_`` methods.

        Args:
            pump: Makes the call and sends the source into it.
            codec: Values for the answers.
            on_finished: Called with the final result.
        """
        super().__init__(codec, on_finished)
        self._pump = pump
        self._messages: AsyncMessages[Any] | None = None

    async def start(self) -> StreamStarted:
        """Make the call and wait until it is admitted. Reading the stream does the same by itself.

        Raises:
            SeqserveError: If the stream was refused or the call failed.
        """
        try:
            while self._started is None and (event := await self._read()) is not None:
                self._take(event)
        except BaseException:
            self.cancel()
            raise
        return self.started

    def pieces(self) -> AsyncIterator[PieceT]:
        """The answers as they come, those together that came together.

        Raises:
            SeqserveError: If the stream was refused or the call failed.
            Exception: what the source raised.
            RuntimeError: If the stream was iterated before.
        """
        self._begin_iteration()
        return self._pieces()

    def cancel(self) -> None:
        """End the stream on both sides; iteration ends. Once it has ended this does nothing."""
        self._cancelled = True
        self._pump.cancel()
        if self._messages is not None:
            self._messages.cancel()

    def __aiter__(self) -> AsyncIterator[PartT]:
        """The answers one by one, as they come. Raises: as ``pieces``."""
        self._begin_iteration()
        return self._parts()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()
        await self._pump.close()

    async def _parts(self) -> AsyncIterator[PartT]:
        async with contextlib.aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                for part in self._codec.parts(piece):
                    yield part

    async def _pieces(self) -> AsyncGenerator[PieceT, None]:
        try:
            while (event := await self._read()) is not None:
                if (piece := self._take(event)) is not None:
                    yield piece
        finally:
            self.cancel()

    async def _read(self) -> Any | None:
        if self._cancelled:
            return None
        if self._messages is None:
            self._messages = self._pump.open()
            if self._cancelled:  # by another thread, which did not see the call yet
                self._messages.cancel()
        try:
            event = await self._messages.read()
        except SeqserveError:
            if self._finished is None:
                raise
            return None  # everything was received; only the status of the call was lost
        if self._pump.error is not None and not self._cancelled:
            raise self._pump.error
        if event is None:
            self._end()
        return event


AsyncTagStream: TypeAlias = AsyncDuplexStream[TagPiece, Tag, TagFinished]
"""A stream of tags."""

AsyncScoreStream: TypeAlias = AsyncDuplexStream[ScorePiece, ScoredToken, ScoreFinished]
"""A stream of scores."""

AsyncClassifyStream: TypeAlias = AsyncDuplexStream[Classification, Classification, ClassifyFinished]
"""A stream of classifications."""
