"""A generation as it comes: iterate for the pieces; what was told before and after them stands on the stream.

The call is made when the stream is first read, and ends with it: at the end of the text, on ``cancel``, on leaving the
``with`` block, and on leaving the loop early. A server never goes on generating for a reader that has left.

If the connection breaks or the server goes away, the call is made again for the rest of the text; the reader sees a
pause, and the text is the same.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Self

from seqserve.client._async.messages import AsyncMessages
from seqserve.client._async.transport import AsyncTransport
from seqserve.client._sync.messages import Messages
from seqserve.client._sync.transport import Transport
from seqserve.client.core.resumption import Resumption
from seqserve.client.errors import ProtocolError, SeqserveError
from seqserve.client.types.generation import (
    GenerationFinished,
    GenerationStarted,
    Piece,
    finished_from_wire,
    piece_from_wire,
    started_from_wire,
)
from seqserve.v1 import generation_pb2


class GenerationRecord:
    """What a stream has told so far. Takes the events in order and holds the server to it."""

    def __init__(self, resumption: Resumption, on_finished: Callable[[GenerationFinished], None]) -> None:
        self._resumption = resumption
        self._on_finished = on_finished
        self._begun = False
        self._started: GenerationStarted | None = None
        self._finished: GenerationFinished | None = None
        self._texts: dict[int, list[str]] = {}
        self._iterated = False
        self._cancelled = False

    @property
    def started(self) -> GenerationStarted:
        """Servable, seed, prompt tokens and position; there from the first piece on, or after ``start()``.

        Raises:
            RuntimeError: if the stream has not been read yet.
        """
        if self._started is None:
            raise RuntimeError("the generation has not started: call start() or read the stream first")
        return self._started

    @property
    def finished(self) -> GenerationFinished:
        """Finish reasons, counts, times and state; there once the stream was read to its end.

        Raises:
            RuntimeError: if the stream was not read to its end.
        """
        if self._finished is None:
            raise RuntimeError("the generation has not finished: read the stream to its end first")
        return self._finished

    @property
    def resumed(self) -> int:
        """How many times the stream broke and went on."""
        return self._resumption.times

    def _take(self, event: generation_pb2.GenerateResponse) -> Piece | None:
        """Note one event; the piece if it is one."""
        kind = event.WhichOneof("event")
        if (kind == "started") == self._begun and kind is not None:
            raise ProtocolError(f"the server sent {kind!r} where the stream does not allow it")
        if self._finished is not None:
            raise ProtocolError(f"the server sent {kind!r} after the end of the generation")
        if kind == "started":
            self._begun = True
            started = started_from_wire(event.started)
            self._resumption.started(started)
            self._started = self._started or started
        elif kind == "finished":
            self._finished = finished_from_wire(event.finished)
            self._on_finished(self._finished)
        elif kind == "piece":
            piece = piece_from_wire(event.piece)
            self._resumption.received(piece)
            self._texts.setdefault(piece.sample, []).append(piece.text)
            return piece
        return None  # an event without a kind that we know is a newer server's: not for us

    def _end(self) -> None:
        """The stream has ended; it may only do so after the finish message, or because it was cancelled here."""
        if self._finished is None and not self._cancelled:
            raise ProtocolError("the server ended the stream without saying how the generation ended")

    def _begin_iteration(self) -> None:
        if self._iterated:
            raise RuntimeError("a generation can be iterated once; keep the pieces, or use text()")
        self._iterated = True

    def _text(self, sample: int) -> str:
        if self._finished is not None and not 0 <= sample < len(self._finished.samples):
            raise IndexError(f"the generation has no sample {sample}: it has {len(self._finished.samples)}, from 0")
        return "".join(self._texts.get(sample, ()))


class GenerationStream(GenerationRecord):
    """A generation, read piece by piece.

    >>> with client.generate("shakespeare-char", "ROMEO:", max_tokens=200) as stream:  # doctest: +SKIP
    ...     for piece in stream:
    ...         print(piece.text, end="", flush=True)
    ...     print(stream.finished.reason)
    """

    def __init__(
        self,
        transport: Transport,
        open_call: Callable[[], Messages[generation_pb2.GenerateResponse]],
        resumption: Resumption,
        on_finished: Callable[[GenerationFinished], None],
    ) -> None:
        """Made by ``generate``.

        Args:
            transport: The way to the server.
            open_call: Asks it for what ``resumption`` says.
            resumption: What to ask, and what to ask for after a break.
            on_finished: Called with what the end told.
        """
        super().__init__(resumption, on_finished)
        self._transport = transport
        self._open_call = open_call
        self._woken = threading.Event()  # by cancel, out of a pause
        self._messages: Messages[generation_pb2.GenerateResponse] | None = None

    def start(self) -> GenerationStarted:
        """Make the call and wait until it is admitted. Reading the stream does the same by itself.

        Raises:
            SeqserveError: if the request was refused or the call failed.
        """
        try:
            while self._started is None and (event := self._read()) is not None:
                self._take(event)
        except SeqserveError:
            self.cancel()
            raise
        return self.started

    def text(self, sample: int = 0) -> str:
        """Read to the end and return one sample's whole text; after an iteration, the text that it received.

        Args:
            sample: Which sample, in [0, n).

        Raises:
            IndexError: if the generation ended without such a sample.
            SeqserveError: if the request was refused or the call failed.
        """
        if not self._iterated:
            for _ in self:
                pass
        return self._text(sample)

    def cancel(self) -> None:
        """End the generation on both sides; iteration ends. Once it has ended this does nothing."""
        self._cancelled = True
        self._woken.set()
        if self._messages is not None:
            self._messages.cancel()

    def __iter__(self) -> Iterator[Piece]:
        """The pieces as they come.

        Raises:
            SeqserveError: if the request was refused or the call failed.
            RuntimeError: if the stream was iterated before.
        """
        self._begin_iteration()
        return self._pieces()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def _pieces(self) -> Iterator[Piece]:
        try:
            while (event := self._read()) is not None:
                if (piece := self._take(event)) is not None:
                    yield piece
        finally:
            self.cancel()

    def _read(self) -> generation_pb2.GenerateResponse | None:
        while not self._cancelled:
            if self._messages is None:
                self._messages = self._open_call()
                if self._cancelled:  # by another thread, which did not see the call yet
                    self._messages.cancel()
            try:
                event = self._messages.read()
            except SeqserveError as error:
                if self._finished is not None:  # all has come; only the farewell was lost
                    return None
                pause_s = self._resumption.pause_s(error) if self._transport.worth_retrying else None
                if pause_s is None:
                    raise
                self._messages, self._begun = None, False
                self._transport.pause(pause_s, self._woken)
                continue
            if event is None:
                self._end()
            return event
        return None


class AsyncGenerationStream(GenerationRecord):
    """A generation, read piece by piece, for asyncio.

    >>> async with client.generate("shakespeare-char", "ROMEO:", max_tokens=200) as stream:  # doctest: +SKIP
    ...     async for piece in stream:
    ...         print(piece.text, end="", flush=True)
    ...     print(stream.finished.reason)
    """

    def __init__(
        self,
        transport: AsyncTransport,
        open_call: Callable[[], AsyncMessages[generation_pb2.GenerateResponse]],
        resumption: Resumption,
        on_finished: Callable[[GenerationFinished], None],
    ) -> None:
        """Made by ``generate``.

        Args:
            transport: The way to the server.
            open_call: Asks it for what ``resumption`` says.
            resumption: What to ask, and what to ask for after a break.
            on_finished: Called with what the end told.
        """
        super().__init__(resumption, on_finished)
        self._transport = transport
        self._open_call = open_call
        self._woken = asyncio.Event()  # by cancel, out of a pause
        self._messages: AsyncMessages[generation_pb2.GenerateResponse] | None = None

    async def start(self) -> GenerationStarted:
        """Make the call and wait until it is admitted. Reading the stream does the same by itself.

        Raises:
            SeqserveError: if the request was refused or the call failed.
        """
        try:
            while self._started is None and (event := await self._read()) is not None:
                self._take(event)
        except SeqserveError:
            self.cancel()
            raise
        return self.started

    async def text(self, sample: int = 0) -> str:
        """Read to the end and return one sample's whole text; after an iteration, the text that it received.

        Args:
            sample: Which sample, in [0, n).

        Raises:
            IndexError: if the generation ended without such a sample.
            SeqserveError: if the request was refused or the call failed.
        """
        if not self._iterated:
            async for _ in self:
                pass
        return self._text(sample)

    def cancel(self) -> None:
        """End the generation on both sides; iteration ends. Once it has ended this does nothing."""
        self._cancelled = True
        self._woken.set()
        if self._messages is not None:
            self._messages.cancel()

    def __aiter__(self) -> AsyncIterator[Piece]:
        """The pieces as they come.

        Raises:
            SeqserveError: if the request was refused or the call failed.
            RuntimeError: if the stream was iterated before.
        """
        self._begin_iteration()
        return self._pieces()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    async def _pieces(self) -> AsyncIterator[Piece]:
        try:
            while (event := await self._read()) is not None:
                if (piece := self._take(event)) is not None:
                    yield piece
        finally:
            self.cancel()

    async def _read(self) -> generation_pb2.GenerateResponse | None:
        while not self._cancelled:
            if self._messages is None:
                self._messages = self._open_call()
            try:
                event = await self._messages.read()
            except SeqserveError as error:
                if self._finished is not None:  # all has come; only the farewell was lost
                    return None
                pause_s = self._resumption.pause_s(error) if self._transport.worth_retrying else None
                if pause_s is None:
                    raise
                self._messages, self._begun = None, False
                await self._transport.pause(pause_s, self._woken)
                continue
            if event is None:
                self._end()
            return event
        return None
