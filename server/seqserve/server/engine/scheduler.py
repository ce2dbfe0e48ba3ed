"""Chooses which sequences run in the next step. Pure and synchronous: no clock, no I/O, no arrays.

Sequences join and leave between steps (cellular batching: Gao et al., "Low latency RNN inference with cellular
batching", EuroSys 2018). Prefill runs consume known inputs in pieces, several sequences of similar length together. A
short rest of a prompt is prefilled inline in the decode batch, a token a step, which for a recurrent model costs less
than a run of its own. Inputs of streams are consumed as they come, those of all streams in one run. Stream, prefill and
decode steps take turns, so a long prompt delays running streams by one bounded piece at a time.

When more sequences want to run than fit, a sequence that has used its slice of tokens goes back to the queue. Its whole
memory is a few KB of state, so that costs one copy of a row.

    waiting ──▶ prefilling ──▶ decoding ──▶ ended
       ▲   └─────────────────────▶ │
       ├─── slice used up ─────────┤
       └─── paused (its reader lags behind) ◀─┘

    resting ◀──▶ ready ──▶ ended
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from seqserve.server.engine.bucketing import choose_batch
from seqserve.server.engine.deadlines import Deadlines
from seqserve.server.engine.fair_queue import FairQueue
from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.engine.sequence import PrefillSequence, Sequence
from seqserve.server.engine.steps import DecodeStep, PrefillStep, Step, StreamStep
from seqserve.server.engine.streaming import StreamingSequence
from seqserve.server.errors import QueueFullError
from seqserve.server.settings import BatchSettings


class Scheduler:
    """The sequences of one engine.

    Attributes:
        settings: How batches are formed.
        cuts: Whether an input may be consumed in pieces; false for bidirectional models.
        waiting: The queue.
        prefilling: Sequences whose inputs are being consumed.
        decoding: Sequences in the decode batch. A new list object is made whenever the members change.
        paused: Sequences whose readers lag behind.
        open_streams: All open streams.
        ready_streams: Those that have something to do, in order.
    """

    def __init__(self, settings: BatchSettings, *, cuts: bool) -> None:
        self.settings = settings
        self.cuts = cuts
        self.waiting: FairQueue[PrefillSequence] = FairQueue()
        self.prefilling: list[PrefillSequence] = []
        self.decoding: list[GenerationSequence] = []
        self.paused: list[GenerationSequence] = []
        self.open_streams: set[StreamingSequence] = set()
        self.ready_streams: dict[StreamingSequence, None] = {}
        self._turns: deque[Callable[[], Step | None]] = deque(
            [self._stream_step, self._prefill_step, self._decode_step]
        )
        self._streams_ran = False  # since the last prefill step
        self._steps_to_check = 0  # decoding steps until a backlog can have reached its limit
        self._slices: dict[GenerationSequence, int] = {}  # tokens generated when it joined the decoding batch
        self._deadlines = Deadlines()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run now; paused sequences wait for their readers, resting streams for input."""
        self._pause_and_resume()
        return not (self.waiting or self.prefilling or self.decoding or self.ready_streams)

    def add(self, sequence: PrefillSequence) -> None:
        """Queues a new sequence.

        Raises:
            QueueFullError: The queue is at its limit.
        """
        if len(self.waiting) >= self.settings.queue_depth_max:
            raise queue_full(len(self.waiting), self.settings)
        self._wait(sequence)
        self._deadlines.add(sequence)

    def open(self, sequence: StreamingSequence) -> None:
        """Adds a stream, which rests until something is pushed.

        Raises:
            QueueFullError: The limit of open streams is reached.
        """
        if len(self.open_streams) >= self.settings.open_streams_max:
            raise too_many_streams(len(self.open_streams), self.settings)
        self.open_streams.add(sequence)
        self._deadlines.add(sequence)
        self.enqueue(sequence)

    def enqueue(self, sequence: StreamingSequence) -> None:
        """Marks an open stream as ready if it has something to do."""
        if sequence not in self.ready_streams and sequence.due and sequence in self.open_streams:
            self.ready_streams[sequence] = None

    def remove(self, sequence: Sequence) -> None:
        """Removes a sequence and its forks wherever they are: they take part in no later step."""
        for member in sequence.members:
            member.ended = True
            if isinstance(member, StreamingSequence):
                self._close(member)
            elif not self.waiting.remove(member):
                self.prefilling = [other for other in self.prefilling if other is not member]
                self.paused = [other for other in self.paused if other is not member]
            if member in self._slices:
                self._leave([member])

    def fork(self, sequence: PrefillSequence) -> None:
        """Makes the further samples of a sequence whose prompt is consumed, and queues them."""
        for fork in sequence.make_forks():
            self._wait(fork)

    def schedule(self) -> Step | None:
        """Returns the next step; None if there is nothing to do."""
        self._pause_and_resume()
        self._admit()
        for _ in range(len(self._turns)):
            step = self._turns[0]()
            self._turns.rotate(-1)
            if step is not None:
                return step
        return None

    def update(self, step: Step) -> None:
        """Moves the members of a step that has run: to the decode batch, to rest, or out."""
        match step:
            case DecodeStep(sequences):
                self._steps_to_check -= 1
                if any(sequence.ended for sequence in sequences):
                    self._leave([sequence for sequence in sequences if sequence.ended])
            case PrefillStep(rows):
                self.prefilling = [
                    sequence for sequence in self.prefilling if sequence.remaining and not sequence.ended
                ]
                for sequence, _ in rows:
                    if isinstance(sequence, GenerationSequence) and not sequence.remaining and not sequence.ended:
                        self._join(sequence.family if sequence.beams is not None else [sequence])
            case StreamStep(rows):
                for stream, _ in rows:
                    self.ready_streams.pop(stream, None)
                    if stream.ended:
                        self._close(stream)
                    else:
                        self.enqueue(stream)  # after those that are ready

    def expired(self, now_s: float) -> list[Sequence]:
        """Removes and returns the sequences whose deadline has passed."""
        late = self._deadlines.passed(now_s)
        for sequence in late:
            self.remove(sequence)
        return late

    def clear(self) -> list[Sequence]:
        """Removes and returns everything."""
        left: list[Sequence] = [*self.waiting, *self.prefilling, *self.decoding, *self.paused, *self.open_streams]
        for sequence in left:
            self.remove(sequence)
        return left

    def _close(self, sequence: StreamingSequence) -> None:
        self.open_streams.discard(sequence)
        self.ready_streams.pop(sequence, None)

    def _wait(self, sequence: PrefillSequence) -> None:
        self.waiting.add(sequence, sequence.admission.caller, sequence.admission.priority)

    def _join(self, sequences: list[GenerationSequence]) -> None:
        if sequences:
            self.decoding = [*self.decoding, *sequences]
            self._slices |= {sequence: sequence.generated for sequence in sequences}
            self._steps_to_check = 0

    def _leave(self, sequences: Iterable[Sequence]) -> None:
        leaving = set(sequences)
        self._slices = {sequence: since for sequence, since in self._slices.items() if sequence not in leaving}
        self.decoding = [sequence for sequence in self.decoding if sequence in self._slices]

    def _admit(self) -> None:
        """Admits sequences in order, while there is room or a sequence whose slice is used up."""
        while self.waiting and len(self.prefilling) < self.settings.prefilling_max:
            if rows_needed := self.waiting.first().rows_needed:  # a search waits until there is room for all its beams
                while self._room < rows_needed:
                    if not self._make_room():
                        return
            sequence = self.waiting.pop()
            if sequence.ended:  # a sample that ended with its first token
                continue
            inline_max = self.settings.inline_prefill_tokens_max if self.decoding else 0
            if isinstance(sequence, GenerationSequence) and sequence.can_decode(inline_max):
                self._join([sequence])
            else:
                self.prefilling.append(sequence)

    @property
    def _room(self) -> int:
        """Number of rows of the decode batch that no sequence has or needs later."""
        return self.settings.size_max - sum(sequence.rows_needed for sequence in self.prefilling) - len(self.decoding)

    def _make_room(self) -> bool:
        """Queues a sequence that used up its slice, or has a lower priority. Returns whether there was one."""
        wanted = self.waiting.first_priority()
        # Beams stay together. A sequence that is prefilled inline would need prefill runs, and the batch has its state.
        movable = [
            (sequence.admission.priority, since - sequence.generated, sequence)
            for sequence, since in self._slices.items()
            if sequence.beams is None and not sequence.remaining
        ]
        if wanted is None or not movable:
            return False
        priority, minus_used, sequence = min(movable, key=lambda candidate: candidate[:2])
        if priority > wanted or (priority == wanted and -minus_used < self.settings.slice_tokens):
            return False
        self._leave([sequence])
        self._wait(sequence)
        return True

    def _pause_and_resume(self) -> None:
        """In this order, a reader that catches up just now is either seen here or sees that its sequence is paused."""
        limit = self.settings.tokens_ahead_max
        if self._steps_to_check <= 0 and self.decoding:
            stalled = [sequence for sequence in self.decoding if sequence.backlog >= limit]
            if stalled:
                self.paused = [*self.paused, *stalled]
                self._leave(stalled)
            self._steps_to_check = limit - max((sequence.backlog for sequence in self.decoding), default=0)
        if self.paused:
            ready = [sequence for sequence in self.paused if sequence.backlog <= limit // 2]
            self.paused = [sequence for sequence in self.paused if sequence not in ready]
            for sequence in ready:
                self._wait(sequence)

    def _prefill_step(self) -> PrefillStep | None:
        if not self.prefilling:
            return None
        longest = self._longest(alone=not (self.decoding or self.ready_streams or self._streams_ran))
        self._streams_ran = False
        counts = [self._piece(sequence, longest) if self.cuts else sequence.remaining for sequence in self.prefilling]
        together = choose_batch(counts, self.settings.prefill_tokens_max, self.settings.size_max)
        return PrefillStep([(self.prefilling[place], counts[place]) for place in together])

    def _stream_step(self) -> StreamStep | None:
        """The first ready stream, and others whose next run is of similar length, up to the limits."""
        if not self.ready_streams:
            return None
        self._streams_ran = True
        alone = len(self.open_streams) == 1 and not (self.prefilling or self.decoding)
        longest, width = self._longest(alone=alone), 0
        rows: list[tuple[StreamingSequence, int]] = []
        for sequence in self.ready_streams:
            count = sequence.next_run(width or longest)
            if count == 0 or not width or width <= 2 * count <= 2 * width:
                rows.append((sequence, count))
                width = width or count
            if len(rows) >= self.settings.size_max or (len(rows) + 1) * width > self.settings.prefill_tokens_max:
                break
        return StreamStep(rows)

    def _decode_step(self) -> DecodeStep | None:
        return DecodeStep(self.decoding) if self.decoding else None

    def _piece(self, sequence: PrefillSequence, longest: int) -> int:
        """Steps of a sequence's next run. Prompts are cut at multiples of the block, which the cache can keep."""
        block = self.settings.prefill_length_max
        end = sequence.consumed + min(sequence.remaining, longest)
        if sequence.block_aligned and (aligned := end - end % block) > sequence.consumed:
            end = aligned
        return end - sequence.consumed

    def _longest(self, *, alone: bool) -> int:
        """Maximum number of steps of a run.

        Args:
            alone: Whether no other sequence has to wait for it.
        """
        block = self.settings.prefill_length_max
        return max(block, self.settings.prefill_tokens_max) if alone else block


def queue_full(waiting: int, settings: BatchSettings) -> QueueFullError:
    """Returns the error for a caller who finds the queue at its limit."""
    return QueueFullError(
        f"{waiting} requests are waiting for this model, which is the limit; try again later",
        retry_after_s=settings.retry_after_s,
    )


def too_many_streams(count: int, settings: BatchSettings) -> QueueFullError:
    """Returns the error for a caller who finds as many streams open as the limit allows."""
    return QueueFullError(
        f"{count} client streams are open for this model, which is the limit; try again later",
        retry_after_s=settings.retry_after_s,
    )
