"""The way from an engine to one caller: what has gathered since the caller last looked goes out in one piece.

`put` and `fail` run on the event loop (the engine hands a whole step over in one call); `taken` may be read from any
thread. Nothing here waits for the engine, and the engine waits for nothing here: a reader that stalls shows as a
growing backlog, and the scheduler pauses its sequence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from seqserve.server.errors import ServeError
from seqserve.server.sampling import StepReport
from seqserve.server.state import FloatArray


class FinishReason(Enum):
    """Why a sequence ended."""

    LENGTH = auto()
    STOP = auto()
    EOS = auto()
    READ = auto()
    DEADLINE = auto()


@dataclass(frozen=True, slots=True)
class Times:
    """Moments of one sequence on the engine's clock, in seconds."""

    admitted_s: float
    started_s: float
    first_output_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class End:
    """How a sequence ended.

    dropped_bytes: bytes at the end of its text that are not part of the answer (a stop string, a stop token).
    """

    reason: FinishReason
    times: Times
    tokens: int = 0
    position: int = 0
    matched_stop: str | None = None
    matched_token: int | None = None
    dropped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """What one step gave one sequence.

    token: the token that was generated, None for a reading. held_bytes: bytes at the end of the text so far that may
    not be released yet. arrays: what the graph gave for a whole input, (T, V) each. end: set with the last output.
    """

    token: int | None = None
    held_bytes: int = 0
    report: StepReport | None = None
    arrays: tuple[FloatArray, ...] = ()
    end: End | None = None


@dataclass(slots=True)
class Gathered:
    """All outputs since the last look, in order."""

    tokens: list[int] = field(default_factory=list[int])
    reports: list[StepReport] = field(default_factory=list[StepReport])
    held_bytes: int = 0
    arrays: tuple[FloatArray, ...] = ()
    end: End | None = None


class OutputStream:
    """The outputs of one sequence, for one reader."""

    def __init__(self, on_take: Callable[[], None] = lambda: None) -> None:
        """Args: on_take: called after the reader has taken something."""
        self.taken = 0
        self._on_take = on_take
        self._gathered = Gathered()
        self._any = False
        self._error: ServeError | None = None
        self._reader: asyncio.Future[None] | None = None

    def put(self, output: Output) -> None:
        """Add one output. On the event loop only."""
        gathered = self._gathered
        if output.token is not None:
            gathered.tokens.append(output.token)
            gathered.held_bytes = output.held_bytes
        if output.report is not None:
            gathered.reports.append(output.report)
        if output.arrays:
            gathered.arrays = output.arrays
        if output.end is not None:
            gathered.end = output.end
        self._wake()

    def fail(self, error: ServeError) -> None:
        """End the stream with an error; what was put before is still read first. On the event loop only."""
        self._error = error
        self._wake()

    async def take(self) -> Gathered:
        """Wait until there is something, and take all of it. One reader only.

        Raises: ServeError once the sequence failed and everything before was taken.
        """
        if not self._any:
            if self._error is not None:
                raise self._error
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if not self._any and self._error is not None:
            raise self._error
        gathered, self._gathered, self._any = self._gathered, Gathered(), False
        self.taken += len(gathered.tokens)
        self._on_take()
        return gathered

    def _wake(self) -> None:
        self._any = self._any or self._error is None
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
