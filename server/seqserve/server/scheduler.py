"""Which sequences run in the next step. Pure and synchronous: no clock, no I/O, no arrays.

Sequences join and leave between steps (cellular batching: Gao et al., "Low latency RNN inference with cellular
batching", EuroSys 2018). A sequence first reads its known inputs in pieces, several sequences of like length together;
a generation then joins the decoding batch. Reading and decoding take turns, so a long prompt delays running streams by
one bounded piece at a time.

    waiting ──schedule──▶ reading ──▶ decoding ◀──▶ paused (its reader lags behind)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from seqserve.server.errors import QueueFullError
from seqserve.server.sequence import GenerationSequence, Sequence
from seqserve.server.settings import BatchSettings


@dataclass(frozen=True, slots=True)
class ReadStep:
    """Consume known inputs: each row a sequence and how many of its steps."""

    rows: list[tuple[Sequence, int]]


@dataclass(frozen=True, slots=True)
class DecodeStep:
    """Feed each sequence its last token and draw the next. The same list object as before: the same members."""

    sequences: list[GenerationSequence]


class Scheduler:
    """The sequences of one engine."""

    def __init__(self, settings: BatchSettings, *, cuts: bool) -> None:
        """Args: cuts: whether an input may be consumed in pieces; false for bidirectional models."""
        self.settings = settings
        self.cuts = cuts
        self.waiting: deque[Sequence] = deque()
        self.reading: list[Sequence] = []
        self.decoding: list[GenerationSequence] = []
        self.paused: list[GenerationSequence] = []
        self._read_last = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run now; paused sequences wait for their readers."""
        self._pause_and_resume()
        return not (self.waiting or self.reading or self.decoding)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence in line.

        Raises: QueueFullError if the line is at its limit.
        """
        if len(self.waiting) >= self.settings.queue_depth_max:
            raise QueueFullError(
                f"{len(self.waiting)} requests are waiting for this model, the most it takes; try again later",
                retry_after_s=1.0,
            )
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out wherever it is: it takes part in no later step."""
        sequence.ended = True
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        self.reading = [other for other in self.reading if other is not sequence]
        self.paused = [other for other in self.paused if other is not sequence]
        if sequence in self.decoding:
            self.decoding = [other for other in self.decoding if other is not sequence]

    def schedule(self) -> ReadStep | DecodeStep | None:
        """The next step; None if there is nothing to do."""
        self._pause_and_resume()
        room = self.settings.size_max - len(self.reading) - len(self.decoding) - len(self.paused)
        while room > 0 and self.waiting:
            self.reading.append(self.waiting.popleft())
            room -= 1
        if self.reading and not (self._read_last and self.decoding):
            self._read_last = True
            return ReadStep(self._pieces())
        self._read_last = False
        return DecodeStep(self.decoding) if self.decoding else None

    def update(self, step: ReadStep | DecodeStep) -> None:
        """Take note of a step that has run: what has been read decodes, what has ended leaves."""
        if isinstance(step, ReadStep):
            arrived = [
                sequence
                for sequence, _ in step.rows
                if isinstance(sequence, GenerationSequence) and not sequence.remaining and not sequence.ended
            ]
            self.reading = [sequence for sequence in self.reading if sequence.remaining and not sequence.ended]
            if arrived:
                self.decoding = [*self.decoding, *arrived]
        elif any(sequence.ended for sequence in self.decoding):
            self.decoding = [sequence for sequence in self.decoding if not sequence.ended]

    def clear(self) -> list[Sequence]:
        """Take everything out and return it."""
        left = self._everyone()
        for sequence in left:
            self.remove(sequence)
        return left

    def expired(self, now_s: float) -> list[Sequence]:
        """Sequences whose deadline has passed."""
        return [
            sequence
            for sequence in self._everyone()
            if sequence.deadline_s is not None and sequence.deadline_s <= now_s
        ]

    def _everyone(self) -> list[Sequence]:
        return [*self.waiting, *self.reading, *self.decoding, *self.paused]

    def _pause_and_resume(self) -> None:
        """In this order: a reader that catches up just now either is seen here or sees that its sequence is paused."""
        limit = self.settings.tokens_ahead_max
        stalled = [sequence for sequence in self.decoding if sequence.backlog >= limit]
        if stalled:
            self.paused = [*self.paused, *stalled]
            self.decoding = [sequence for sequence in self.decoding if sequence not in stalled]
        if self.paused:
            ready = [sequence for sequence in self.paused if sequence.backlog < limit]
            if ready:
                self.paused = [sequence for sequence in self.paused if sequence not in ready]
                self.decoding = [*self.decoding, *ready]

    def _pieces(self) -> list[tuple[Sequence, int]]:
        """The oldest sequence's next piece, and those of others at least half as long, up to the limits."""
        longest = self._piece(self.reading[0])
        rows: list[tuple[Sequence, int]] = []
        for sequence in self.reading:
            count = min(self._piece(sequence), longest) if self.cuts else self._piece(sequence)
            if longest / 2 <= count <= longest:
                rows.append((sequence, count))
            if (len(rows) + 1) * longest > self.settings.prefill_tokens_max:
                break
        return rows

    def _piece(self, sequence: Sequence) -> int:
        return min(sequence.remaining, self.settings.prefill_length_max) if self.cuts else sequence.remaining
