"""A stream that is fed and read at once, for asyncio: the counterpart of `feed_stream`, with the same methods."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from seqserve.client._async.messages import AsyncConversation, self_was_cancelled
from seqserve.client.core.stream import FinishedT, PartT, PieceT, StreamCodec, StreamRecord, StreamStarted
from seqserve.client.errors import SeqserveError

ItemT = TypeVar("ItemT")

AsyncSource: TypeAlias = AsyncIterable[ItemT] | Iterable[ItemT]
"""Where the pieces of a stream come from. A plain iterable is read in the event loop, so it must not wait."""


class AsyncDuplexStream(StreamRecord[PieceT, PartT, FinishedT]):
    """Answers to a source that is read as it goes, for asyncio; iterate for them one by one.

    >>> async with client.stream_tag("english-pos", pieces_of_text) as stream:  # doctest: +SKIP
    ...     async for tag in stream:
    ...         print(tag.token, tag.label)
    ...     print(stream.finished.tokens)

    The source is read in a task of its own, so it may wait: for input, or for the answers. One that waits when the
    stream is left is cancelled.
    """

    def __init__(
        self,
        open_call: Callable[[], AsyncConversation[Any, Any]],
        codec: StreamCodec[PieceT, PartT, FinishedT],
        source: AsyncSource[object],
        on_finished: Callable[[FinishedT], None],
    ) -> None:
        """Made by the client's ``stream_`` methods.

        Args:
            open_call: Makes the call.
            codec: How it is spoken.
            source: Where the pieces come from.
            on_finished: Called with what the end told.
        """
        super().__init__(codec, on_finished)
        self._open_call = open_call
        self._source = source
        self._call: AsyncConversation[Any, Any] | None = None
        self._sending: asyncio.Task[None] | None = None

    async def start(self) -> StreamStarted:
        """Make the call and wait until it is admitted. Reading the stream does the same by itself.

        Raises:
            SeqserveError: if the stream was refused or the call failed.
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
            SeqserveError: if the stream was refused or the call failed.
            Exception: what the source raised.
            RuntimeError: if the stream was iterated before.
        """
        self._begin_iteration()
        return self._pieces()

    def cancel(self) -> None:
        """End the stream on both sides; iteration ends. Once it has ended this does nothing."""
        self._cancelled = True
        if (
            self._sending is not None and not self._sending.cancelling()
        ):  # twice would disturb what the source puts away
            self._sending.cancel()
        if self._call is not None:
            self._call.cancel()

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
        if self._sending is not None:
            await asyncio.wait((self._sending,))  # the source may have something to put away

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
        if self._call is None:
            self._call = self._open_call()
            self._sending = asyncio.create_task(self._send(self._call))
        try:
            event = await self._call.read()
        except SeqserveError:
            if self._finished is None:
                raise
            return None  # all has come; only the farewell was lost
        self._tell_source_error()
        if event is None:
            self._end()
        return event

    async def _send(self, call: AsyncConversation[Any, Any]) -> None:
        """Say all of the source, in a task of its own; a call that has ended is the reader's to tell."""
        try:
            await call.write(self._codec.opening)
            async with contextlib.aclosing(_each(self._source)) as items:
                async for item in items:
                    if not await call.write(self._codec.say(item)):
                        return
            await call.write(self._codec.ending)
        except BaseException as error:
            if self_was_cancelled():
                raise
            self._source_error = error  # whatever it is, the reader is told
            call.cancel()
        else:
            await call.end_input()


async def _each(source: AsyncSource[object]) -> AsyncGenerator[object, None]:
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item
