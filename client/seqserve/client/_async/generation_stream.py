"""A generation as it comes: iterate for the pieces; what was told before and after them stands on the stream.

The call is made when the stream is first read, and ends with it: at the end of the text, on ``cancel``, on leaving the
``with`` block, and on leaving the loop early. The server stops generating when its reader leaves.

If the connection breaks or the server goes away, the call is made again for the rest of the text; the reader sees a
pause, and the text is the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from seqserve.client._async.concurrency import AsyncEvent
from seqserve.client._async.messages import AsyncMessages
from seqserve.client._async.transport import AsyncTransport
from seqserve.client.core.generation_record import GenerationRecord
from seqserve.client.core.resumption import Resumption
from seqserve.client.errors import SeqserveError
from seqserve.client.types.generation import GenerationFinished, GenerationStarted, Piece
from seqserve.v1 import generation_pb2


class AsyncGenerationStream(GenerationRecord):
    """A generation, read piece by piece.

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
        self._woken = AsyncEvent()  # by cancel, out of a pause
        self._messages: AsyncMessages[generation_pb2.GenerateResponse] | None = None

    async def start(self) -> GenerationStarted:
        """Make the call and wait until it is admitted. Reading the stream does the same by itself.

        Raises:
            SeqserveError: If the request was refused or the call failed.
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
            IndexError: If the generation ended without such a sample.
            SeqserveError: If the request was refused or the call failed.
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
            SeqserveError: If the request was refused or the call failed.
            RuntimeError: If the stream was iterated before.
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
                if self._cancelled:  # by another thread, which did not see the call yet
                    self._messages.cancel()
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
