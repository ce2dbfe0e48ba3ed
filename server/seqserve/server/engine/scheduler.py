"""Which sequences run in the next step. Pure and synchronous: no clock, no I/O, no arrays.

Sequences join and leave between steps (cellular batching: Gao et al., "Low latency RNN inference with cellular
batching", EuroSys 2018). Known inputs are read in pieces, several sequences of like length together; a short rest of a
prompt rides along in the decoding batch, a token a step, which for a recurrent model costs less than a run of its own.
What is fed over time is read as it comes, all feeds that have something in one run. Feeding, reading and decoding take
turns, so a long prompt delays running streams by one bounded piece at a time.

When more want to run than fit, a sequence that has had its slice of tokens goes back in line. Its whole memory is a few
KB of state, so that costs one copy of a row.

    waiting ──▶ reading ──▶ decoding ──▶ ended
       ▲   └──────────────────▶ │
       ├─── slice used up ──────┤
       └─── paused (its reader lags behind) ◀─┘

    resting ◀──▶ fed ──▶ ended
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from seqserve.server.engine.bucketing import alike
from seqserve.server.engine.deadlines import Deadlines
from seqserve.server.engine.fair_queue import FairQueue
from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.engine.sequence import PrefillSequence, Sequence
from seqserve.server.engine.steps import DecodeStep, PrefillStep, Step, StreamStep
from seqserve.server.engine.streaming import StreamingSequence
from seqserve.server.errors import QueueFullError
from seqserve.server.settings import BatchSettings


class Scheduler:
    """The sequences of one engine."""

    def __init__(self, settings: BatchSettings, *, cuts: bool) -> None:
        """Args: cuts: whether an input may be consumed in pieces; false for bidirectional models."""
        self.settings = settings
        self.cuts = cuts
        self.waiting: FairQueue[PrefillSequence] = FairQueue()
        self.prefilling: list[PrefillSequence] = []
        self.decoding: list[GenerationSequence] = []
        self.paused: list[GenerationSequence] = []
        self.open_streams: set[StreamingSequence] = set()  # all that are open
        self.ready_streams: dict[StreamingSequence, None] = {}  # those that have something to do, in order
        self._turns: deque[Callable[[], Step | None]] = deque(
            [self._stream_step, self._prefill_step, self._decode_step]
        )
        self._streams_ran = False  # whether feeds had something to do since inputs were read last
        self._steps_to_check = 0  # decoding steps until a backlog can have reached its limit
        self._slices: dict[GenerationSequence, int] = {}  # tokens generated when it joined the decoding batch
        self._deadlines = Deadlines()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run now; paused sequences wait for their readers, resting feeds for input."""
        self._pause_and_resume()
        return not (self.waiting or self.prefilling or self.decoding or self.ready_streams)

    def add(self, sequence: PrefillSequence) -> None:
        """Put a new sequence in line.

        Raises: QueueFullError if the line is at its limit.
        """
        if len(self.waiting) >= self.settings.queue_depth_max:
            raise queue_full(len(self.waiting), self.settings)
        self._wait(sequence)
        self._deadlines.add(sequence)

    def open(self, feed: StreamingSequence) -> None:
        """Take in a feed; it rests until it is fed.

        Raises: QueueFullError if as many are open as may.
        """
        if len(self.open_streams) >= self.settings.open_streams_max:
            raise too_many_streams(len(self.open_streams), self.settings)
        self.open_streams.add(feed)
        self._deadlines.add(feed)
        self.enqueue(feed)

    def enqueue(self, feed: StreamingSequence) -> None:
        """Put an open feed in line if it has something to do."""
        if feed not in self.ready_streams and feed.due and feed in self.open_streams:
            self.ready_streams[feed] = None

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence, and its forks, out wherever they are: they take part in no later step."""
        for member in sequence.members:
            member.ended = True
            if isinstance(member, StreamingSequence):
                self._close(member)
            elif isinstance(member, PrefillSequence) and not self.waiting.remove(member):
                self.prefilling = [other for other in self.prefilling if other is not member]
                self.paused = [other for other in self.paused if other is not member]
            if isinstance(member, GenerationSequence) and member in self._slices:
                self._leave([member])

    def fork(self, sequence: GenerationSequence, samples: int) -> list[GenerationSequence]:
        """Further samples of a sequence whose prompt has been read; they wait for their turn."""
        twins = [sequence.fork(sample) for sample in range(1, samples)]
        for twin in twins:
            self._wait(twin)
        return twins

    def schedule(self) -> Step | None:
        """The next step; None if there is nothing to do."""
        self._pause_and_resume()
        self._admit()
        for _ in range(len(self._turns)):
            step = self._turns[0]()
            self._turns.rotate(-1)
            if step is not None:
                return step
        return None

    def update(self, step: Step) -> None:
        """Take note of a step that has run: what has been read decodes or rests, what has ended leaves."""
        if isinstance(step, StreamStep):
            for feed, _ in step.rows:
                self.ready_streams.pop(feed, None)
                if feed.ended:
                    self._close(feed)
                else:
                    self.enqueue(feed)  # at the end of the line
            return
        if isinstance(step, PrefillStep):
            self.prefilling = [sequence for sequence in self.prefilling if sequence.remaining and not sequence.ended]
            for sequence, _ in step.rows:
                if isinstance(sequence, GenerationSequence) and not sequence.remaining and not sequence.ended:
                    self._join(sequence.family if sequence.beams is not None else [sequence])
            return
        self._steps_to_check -= 1
        if any(sequence.ended for sequence in step.sequences):
            self._leave([sequence for sequence in step.sequences if sequence.ended])

    def expired(self, now_s: float) -> list[Sequence]:
        """Take out and return the sequences whose deadline has passed."""
        late = self._deadlines.passed(now_s)
        for sequence in late:
            self.remove(sequence)
        return late

    def clear(self) -> list[Sequence]:
        """Take everything out and return it."""
        left: list[Sequence] = [*self.waiting, *self.prefilling, *self.decoding, *self.paused, *self.open_streams]
        for sequence in left:
            self.remove(sequence)
        return left

    def _close(self, feed: StreamingSequence) -> None:
        self.open_streams.discard(feed)
        self.ready_streams.pop(feed, None)

    def _wait(self, sequence: PrefillSequence) -> None:
        self.waiting.add(sequence, sequence.admission.caller, sequence.admission.priority)

    def _join(self, sequences: list[GenerationSequence]) -> None:
        if sequences:
            self.decoding = [*self.decoding, *sequences]
            self._slices |= {sequence: sequence.generated for sequence in sequences}
            self._steps_to_check = 0

    def _leave(self, sequences: list[GenerationSequence]) -> None:
        if sequences:
            for sequence in sequences:
                self._slices.pop(sequence, None)
            self.decoding = [sequence for sequence in self.decoding if sequence in self._slices]

    def _admit(self) -> None:
        """Let in who is first in line, while there is room or somebody whose slice is used up."""
        while self.waiting and len(self.prefilling) < self.settings.prefilling_max:
            if rows_needed := self.waiting.first().rows_needed:  # a search waits until there is room for all its beams
                while self._room < rows_needed:
                    if not self._make_room():
                        return
            sequence = self.waiting.pop()
            if sequence.ended:  # a sample that ended with its first token
                continue
            if isinstance(sequence, GenerationSequence) and (not sequence.remaining or self._prefills_inline(sequence)):
                self._join([sequence])
            else:
                self.prefilling.append(sequence)

    @property
    def _room(self) -> int:
        """Rows of a batch that nobody has or is going to need."""
        return self.settings.size_max - sum(sequence.rows_needed for sequence in self.prefilling) - len(self.decoding)

    def _prefills_inline(self, sequence: GenerationSequence) -> bool:
        """Whether the rest of a prompt is fed in the decoding batch. What forks after its prompt is read apart.

        So is what its caller has received already: those tokens are to be appended, not only fed.
        """
        request = sequence.request
        alone = request.samples == 1 and sequence.beams is None and not request.received
        return bool(self.decoding) and alone and sequence.remaining <= self.settings.inline_prefill_tokens_max

    def _make_room(self) -> bool:
        """Send the sequence that used most of its slice, or a less important one, back in line."""
        wanted = self.waiting.first_priority()
        # Beams stay together. Who still reads its prompt would be read apart, and its state is in the batch.
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
        """In this order: a reader that catches up just now either is seen here or sees that its sequence is paused."""
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
        together = alike(counts, self.settings.prefill_tokens_max, self.settings.size_max)
        return PrefillStep([(self.prefilling[place], counts[place]) for place in together])

    def _stream_step(self) -> StreamStep | None:
        """What the first in line was fed, and what others were that is at least half as long, up to the limits."""
        if not self.ready_streams:
            return None
        self._streams_ran = True
        alone = len(self.open_streams) == 1 and not (self.prefilling or self.decoding)
        longest, width = self._longest(alone=alone), 0
        rows: list[tuple[StreamingSequence, int]] = []
        for feed in self.ready_streams:
            count = feed.next_run(width or longest)
            if count == 0 or not width or width <= 2 * count <= 2 * width:
                rows.append((feed, count))
                width = width or count
            if len(rows) >= self.settings.size_max or (len(rows) + 1) * width > self.settings.prefill_tokens_max:
                break
        return StreamStep(rows)

    def _decode_step(self) -> DecodeStep | None:
        return DecodeStep(self.decoding) if self.decoding else None

    def _piece(self, sequence: PrefillSequence, longest: int) -> int:
        """Steps of a sequence's next piece. Prompts are cut at multiples of the block: the cache can keep these."""
        block = self.settings.prefill_length_max
        end = sequence.consumed + min(sequence.remaining, longest)
        if isinstance(sequence, GenerationSequence) and (aligned := end - end % block) > sequence.consumed:
            end = aligned
        return end - sequence.consumed

    def _longest(self, *, alone: bool) -> int:
        """Steps of a run. Args: alone: whether no stream has to wait for it."""
        block = self.settings.prefill_length_max
        return max(block, self.settings.prefill_tokens_max) if alone else block


def queue_full(waiting: int, settings: BatchSettings) -> QueueFullError:
    """What a caller is told when so many wait already."""
    return QueueFullError(
        f"{waiting} requests are waiting for this model, the most it takes; try again later",
        retry_after_s=settings.retry_after_s,
    )


def too_many_streams(count: int, settings: BatchSettings) -> QueueFullError:
    """What a caller is told when so many streams are open already."""
    return QueueFullError(
        f"{count} client streams are open for this model, the most it takes; try again later",
        retry_after_s=settings.retry_after_s,
    )
