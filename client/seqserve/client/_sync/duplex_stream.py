"""A stream that is fed and read at once, blocking.

The call is made when the stream is first read. From then on the source is read as fast as the server takes its pieces,
which it does as fast as its answers are read: nothing gathers on the way. The call ends with the stream: at the end of
the source, on ``cancel``, on leaving the ``with`` block, on leaving the loop early, and when the source fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import Message

from seqserve.client._sync.messages import Messages
from seqserve.client.core.stream import FinishedT, PartT, PieceT, StreamCodec, StreamRecord, StreamStarted
from seqserve.client.errors import SeqserveError


class DuplexStream(StreamRecord[PieceT, PartT, FinishedT]):
    """Answers to a source that is read as it goes; iterate for them one by one.

    >>> with client.stream_tag("english-pos", pieces_of_text) as stream:  # doctest: +SKIP
    ...     for tag in stream:
    ...         print(tag.token, tag.label)
    ...     print(stream.finished.tokens)

    The source is read in a thread of its own, so it may wait: for input, or for the answers. One that waits when the
    stream is left keeps that thread until it gives something or the process ends.
    """

    def __init__(
        self,
        open_call: Callable[[Iterator[Message]], Messages[Any]],
        codec: StreamCodec[PieceT, PartT, FinishedT],
        source: Iterable[object],
        on_finished: Callable[[FinishedT], None],
    ) -> None:
        """Made by the client's ``stream_`` methods.

        Args:
            open_call: Makes the call that says these messages.
            codec: How it is spoken.
            source: Where the pieces come from.
            on_finished: Called with what the end told.
        """
        super().__init__(codec, on_finished)
        self._open_call = open_call
        self._source = source
        self._messages: Messages[Any] | None = None
        self._opened = threading.Event()  # for a source that fails before the call is known here

    def start(self) -> StreamStarted:
        """Make the call and wait until it is admitted. Reading the stream does the same by itself.

        Raises:
            SeqserveError: if the stream was refused or the call failed.
        """
        try:
            while self._started is None and (event := self._read()) is not None:
                self._take(event)
        except BaseException:
            self.cancel()
            raise
        return self.started

    def pieces(self) -> Iterator[PieceT]:
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
        if self._messages is not None:
            self._messages.cancel()

    def __iter__(self) -> Iterator[PartT]:
        """The answers one by one, as they come. Raises: as ``pieces``."""
        pieces = self.pieces()
        return (part for piece in pieces for part in self._codec.parts(piece))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def _pieces(self) -> Iterator[PieceT]:
        try:
            while (event := self._read()) is not None:
                if (piece := self._take(event)) is not None:
                    yield piece
        finally:
            self.cancel()

    def _read(self) -> Any | None:
        if self._cancelled:
            return None
        if self._messages is None:
            self._messages = self._open_call(self._requests())
            self._opened.set()
            if self._cancelled:  # by another thread, which did not see the call yet
                self._messages.cancel()
        try:
            event = self._messages.read()
        except SeqserveError:
            if self._finished is None:
                raise
            return None  # all has come; only the farewell was lost
        self._tell_source_error()
        if event is None:
            self._end()
        return event

    def _requests(self) -> Iterator[Message]:
        """What is said; runs in a thread of gRPC's."""
        yield self._codec.opening
        try:
            for item in self._source:
                yield self._codec.say(item)
            yield self._codec.ending
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the reader is told
            self._source_error = error
            self._opened.wait()
            if self._messages is not None:
                self._messages.cancel()
