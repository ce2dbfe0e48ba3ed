"""The caller's end of a streaming sequence."""

from __future__ import annotations

import threading
from collections.abc import Callable

from seqserve.server.engine.scheduler import Scheduler
from seqserve.server.engine.streaming import StreamingSequence
from seqserve.server.errors import ServeError
from seqserve.server.model.inputs import Inputs


class StreamHandle:
    """Pushes inputs into an open stream and reads its outputs. For the thread of the event loop.

    Each change is made under the engine's lock, and the engine's thread sees it when it looks for its next step.

    Attributes:
        sequence: The stream's sequence; the engine's thread runs it.
        output: What the sequence gives, for one reader.
    """

    __slots__ = ("_lock", "_scheduler", "_wake", "output", "sequence")

    def __init__(
        self,
        sequence: StreamingSequence,
        scheduler: Scheduler,
        lock: threading.RLock,
        wake: Callable[[], None],
    ) -> None:
        """Makes the handle of an open stream.

        Args:
            sequence: The stream's sequence.
            scheduler: The scheduler that has the sequence.
            lock: The engine's lock, which guards the scheduler.
            wake: Called after each change to let the engine's thread look, if it sleeps.
        """
        self.sequence = sequence
        self.output = sequence.stream
        self._scheduler = scheduler
        self._lock = lock
        self._wake = wake

    @property
    def backlog(self) -> int:
        """Number of steps that can be answered, or were shown, and that the reader has not taken."""
        return self.sequence.backlog

    async def until_below(self, limit: int) -> None:
        """Waits until the backlog is below a limit, in steps."""
        while self.sequence.backlog >= limit:
            await self.output.until_taken()

    def push(self, inputs: Inputs) -> None:
        """Adds steps.

        Args:
            inputs: At least one step.

        Raises:
            InputTooLongError: The sentence is too long to be answered as a whole. The steps are not added.
        """
        with self._lock:
            self.sequence.push(inputs)
            self._scheduler.enqueue(self.sequence)
        self._wake()

    def end_sentence(self) -> None:
        """Ends the sentence after the steps pushed so far; the next step begins from the initial state."""
        with self._lock:
            self.sequence.end_sentence()
            self._scheduler.enqueue(self.sequence)
        self._wake()

    def flush(self) -> None:
        """Requests outputs for all steps pushed so far, provisional ones where they are not final."""
        with self._lock:
            self.sequence.flush()
            self._scheduler.enqueue(self.sequence)
        self._wake()

    def finish(self, error: ServeError | None = None) -> None:
        """Ends the input. After the outputs of all steps pushed so far the reader gets the result.

        Args:
            error: An error that the reader gets in place of the result.
        """
        with self._lock:
            self.sequence.finish(error)
            self._scheduler.enqueue(self.sequence)
        self._wake()

    def cancel(self) -> None:
        """Removes the stream: it takes part in no later step. Does nothing if the stream has ended."""
        if not self.sequence.ended:
            with self._lock:
                self._scheduler.remove(self.sequence)
