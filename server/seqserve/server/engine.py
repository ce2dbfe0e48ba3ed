"""The loop of one servable: schedule, run, sample, update, publish.

The engine has a thread of its own, so that the event loop never waits for a graph. The two meet at two places only: the
scheduler, under a lock that is held for microseconds, and one call into the event loop a step, which hands over all
that the step gave. One pass is one batch; a cancel takes effect between passes.

Axes: B sequences, T steps, V vocabulary or labels.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Listed

from seqserve.server.decoding import DecodingBatch, uniforms
from seqserve.server.errors import DeadlineError, DrainingError, InternalError, ServeError
from seqserve.server.sampling import Sampler, StepReport, report
from seqserve.server.scheduler import DecodeStep, ReadStep, Scheduler
from seqserve.server.sequence import (
    GenerationRequest,
    GenerationSequence,
    ReadingRequest,
    ReadingSequence,
    Sequence,
)
from seqserve.server.servable import Servable
from seqserve.server.settings import BatchSettings
from seqserve.server.state import FloatArray, join, rows
from seqserve.server.stream import Output, OutputStream

log = logging.getLogger(__name__)

Published = list[tuple[OutputStream, Output | ServeError]]


class Engine:
    """Runs the sequences of one servable, batched step by step."""

    def __init__(
        self,
        servable: Servable,
        table: Listed[bytes],
        settings: BatchSettings,
        publish: Callable[[Published], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an engine at rest.

        Args:
            servable: What the engine runs; nothing else may run it.
            table: The bytes of each token, for generation.
            settings: How batches are formed.
            publish: Takes what a step gave; called on the thread that runs the step.
            clock: Seconds, monotonic.
        """
        self.servable = servable
        self._table = table
        self._publish = publish
        self._clock = clock
        self._scheduler = Scheduler(settings, cuts=servable.carries_state)
        self._decoding = DecodingBatch(servable)
        self._awake = threading.Condition()  # guards the scheduler and _closing
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name=f"engine {servable.id.model}/{servable.id.version}")

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the step in progress; what has not ended fails with DrainingError. Waits for the thread."""
        with self._awake:
            self._closing = True
            self._awake.notify()
        if self._thread.is_alive():
            self._thread.join()
        with self._awake:
            left = self._scheduler.clear()
        self._publish([(sequence.stream, _draining()) for sequence in left])

    def submit(self, request: GenerationRequest | ReadingRequest, deadline_s: float | None = None) -> Sequence:
        """Admit a request: the only way in.

        Args:
            request: What to do, validated.
            deadline_s: Moment on the engine's clock by which it has to be done; None: no limit.
        Returns: The sequence; its outputs come through its stream.
        Raises: QueueFullError, DrainingError.
        """
        stream = OutputStream(self._room_again)
        state, now_s = self.servable.initial_state(), self._clock()
        sequence: Sequence
        if isinstance(request, GenerationRequest):
            sequence = GenerationSequence(request, self._table, state, stream, now_s, deadline_s)
        else:
            sequence = ReadingSequence(request.inputs, state, stream, now_s, deadline_s)
        with self._awake:
            if self._closing:
                raise _draining()
            self._scheduler.add(sequence)
            self._awake.notify()
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Take a sequence out: it runs in no later step. Harmless if it has ended."""
        with self._awake:
            self._scheduler.remove(sequence)

    def step(self) -> bool:
        """One pass: run one batch, if there is one. Returns whether there was."""
        with self._awake:
            late, step = self._expire(), self._scheduler.schedule()
        self._publish_any(late)
        if step is not None:
            self._execute(step)
        return step is not None

    def _loop(self) -> None:
        while True:
            with self._awake:
                while not self._closing and self._scheduler.idle:
                    self._awake.wait()
                if self._closing:
                    return
            self.step()

    def _execute(self, step: ReadStep | DecodeStep) -> None:
        try:
            published = self._read(step) if isinstance(step, ReadStep) else self._decode(step)
        except Exception as error:  # noqa: BLE001 - a defect in one step ends its sequences, not the engine
            published = self._fail(step, error)
        with self._awake:
            self._scheduler.update(step)
        self._publish_any(published)

    def _read(self, step: ReadStep) -> Published:
        """Consume known inputs; a prompt that is read gives its first token, a reading its outputs."""
        now_s = self._clock()
        sequences = [sequence for sequence, _ in step.rows]
        inputs = [sequence.take(count, now_s) for sequence, count in step.rows]
        outputs, state = self.servable.run(inputs, join([sequence.state for sequence in sequences]))
        published: Published = []
        for row, (sequence, count) in enumerate(step.rows):
            sequence.state = rows(state, [row])
            if sequence.remaining or sequence.ended:
                continue
            if isinstance(sequence, GenerationSequence):
                logits_1V = outputs[0][count - 1, row : row + 1]
                tokens = Sampler([sequence.sampling]).draw(logits_1V, uniforms([sequence]))
                published += self._accept([sequence], tokens.tolist(), logits_1V)
            elif isinstance(sequence, ReadingSequence):
                arrays = tuple(output[:count, row].copy() for output in outputs)
                published.append((sequence.stream, sequence.finish(arrays, self._clock())))
        return published

    def _decode(self, step: DecodeStep) -> Published:
        tokens_B, logits_BV = self._decoding.step(step.sequences)
        return self._accept(step.sequences, tokens_B.tolist(), logits_BV)

    def _accept(self, sequences: list[GenerationSequence], tokens: list[int], logits_BV: FloatArray) -> Published:
        now_s = self._clock()
        published: Published = []
        for row, (sequence, token) in enumerate(zip(sequences, tokens, strict=True)):
            if not sequence.ended:  # cancelled while the step ran
                reported: StepReport | None = None
                if sequence.sampling.logprobs is not None:
                    reported = report(logits_BV[row], token, sequence.sampling.logprobs)
                published.append((sequence.stream, sequence.accept(token, reported, now_s)))
        return published

    def _expire(self) -> Published:
        """Take out the sequences that are past their deadline."""
        late = self._scheduler.expired(self._clock())
        for sequence in late:
            self._scheduler.remove(sequence)
        return [
            (sequence.stream, DeadlineError("the deadline passed before the request was done; allow it more time"))
            for sequence in late
        ]

    def _fail(self, step: ReadStep | DecodeStep, error: Exception) -> Published:
        log.error("a step of %s failed", self._thread.name, exc_info=error)
        rows_of_step = [sequence for sequence, _ in step.rows] if isinstance(step, ReadStep) else step.sequences
        failed = [sequence for sequence in rows_of_step if not sequence.ended]
        for sequence in failed:
            sequence.ended = True
        if isinstance(step, DecodeStep):
            self._decoding = DecodingBatch(self.servable)  # its state is unknown now, and its members have failed
        return [(sequence.stream, InternalError(f"the step failed: {error}")) for sequence in failed]

    def _publish_any(self, published: Published) -> None:
        if published:
            self._publish(published)

    def _room_again(self) -> None:
        """A reader has taken something: a paused sequence may go on."""
        if self._scheduler.paused:
            with self._awake:
                self._awake.notify()


def _draining() -> DrainingError:
    return DrainingError("the server is stopping; try again, on another replica if there is one", retry_after_s=1.0)
