"""Sequences whose inputs arrive over time. Pushed steps are consumed as they come; between them, the sequence rests.

A resting sequence holds its state and nothing else: it is in no batch and costs no step. Steps are pushed on the event
loop, under the engine's lock, and consumed on the engine's thread. Each side writes only its own attributes.

Axes: T steps, U units of a packed state, V vocabulary or labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Listed
from typing import Any, Self

import numpy as np

from seqserve.server.decoding.tagging import LabelChoices, labels_alone
from seqserve.server.engine.output_stream import StreamChunk, StreamOutput, StreamResult
from seqserve.server.engine.sequence import Sequence, SequenceContext
from seqserve.server.errors import ServeError
from seqserve.server.model.inputs import Inputs, concatenate, token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.state import FloatArray, State, pack, unpack


class StreamingSequence(Sequence):
    """Consumes the steps that are pushed.

    Attributes:
        row: Its state now, packed, float32 (U,). ``state`` is the one that it began with, until it ends.
        finished: Whether nothing more is pushed.
        pushed: Number of steps pushed so far.
    """

    def __init__(self, context: SequenceContext, *, keeps_state: bool) -> None:
        super().__init__(context)
        self.row = pack(context.state)[0] if context.state else np.empty(0, np.float32)
        self.finished = False
        self.pushed: int = 0
        self._keeps_state = keeps_state
        self._error: ServeError | None = None

    @property
    def ready(self) -> int:
        """Number of steps that can be answered now and are not."""
        raise NotImplementedError

    @property
    def due(self) -> bool:
        """Whether there is something to do: steps to consume, or an end to publish."""
        return self.ready > 0 or self.finished

    @property
    def done(self) -> bool:
        """Whether everything was published except its result."""
        return self.finished and not self.ready

    @property
    def answerable(self) -> int:
        """Number of steps pushed so far that get an answer even if nothing more is pushed, consumed or not."""
        return self.pushed

    @property
    def backlog(self) -> int:
        """Number of steps that can be answered, or were shown, and that the reader has not taken. On the event loop.

        Computed from attributes that only the event loop writes: a run in progress counts until its outputs are taken.
        """
        return self.answerable - self.stream.taken[0] + self.stream.shown

    def push(self, inputs: Inputs) -> None:
        """Adds steps."""
        raise NotImplementedError

    def end_sentence(self) -> None:
        """Ends a sentence. Does nothing for a sequence that has no sentences."""

    def flush(self) -> None:
        """Requests outputs for all steps pushed so far. Does nothing for a sequence that never holds steps back."""

    def finish(self, error: ServeError | None) -> None:
        """Ends the input: after the outputs of what was pushed comes the result, or the error."""
        self._error = error
        self.finished = True  # last: the engine's thread reads the error once it sees this

    def next_run(self, longest: int) -> int:
        """Returns the number of steps of its next run, at most ``longest``; 0: there is nothing to run."""
        return min(self.ready, longest)

    def take(self, count: int) -> Inputs:
        """Returns the steps of a run, which count as consumed from now on."""
        raise NotImplementedError

    def record(self, scores_TV: FloatArray) -> None:
        """Records what the graph gave for the steps just taken. It is copied if it is kept."""
        raise NotImplementedError

    def carry(self, row: FloatArray) -> None:
        """Takes the state after the steps just taken, packed, (U,)."""
        self.row = row

    @classmethod
    def evaluate(cls, sequences: Listed[Any]) -> None:
        """Evaluates the outputs just recorded, of all sequences of this class in the step together."""
        raise NotImplementedError

    def collect(self) -> StreamOutput | None:
        """Returns what there is to publish after a step; None if nothing."""
        raise NotImplementedError

    def result(self, now_s: float) -> StreamResult | ServeError:
        """Ends the sequence and returns what its reader gets last."""
        self.ended = True
        if self._keeps_state:
            self.state = unpack(self.row[None], self.state)
        return self._error or StreamResult(self.pushed, self.times(now_s), self.state if self._keeps_state else None)


class StepStreamSequence(StreamingSequence):
    """Gives the graph's outputs for each step.

    Attributes:
        top: How many of the most likely labels to report with each step's own label; None: the scores instead.
        chunks: Outputs that were recorded and not collected.
    """

    def __init__(
        self,
        context: SequenceContext,
        initial: State,
        start: SequenceState,
        *,
        keeps_state: bool = False,
        top: int | None = None,
    ) -> None:
        """Makes a sequence that rests.

        Args:
            context: What the engine gives it.
            initial: The model's initial state, from which each sentence after the first begins.
            start: Where the sequence begins.
            keeps_state: Whether the final state is wanted.
            top: How many of the most likely labels to report with each step's own label; None: the scores instead.
        """
        super().__init__(context, keeps_state=keeps_state)
        self._initial = pack(initial)[0] if initial else np.empty(0, np.float32)
        self._pending = len(start.pending)  # steps that come before those pushed, and are not answered
        self._pieces: deque[Inputs] = deque()
        self._known = 0  # steps that were pushed, pending ones included
        self._consumed = 0
        self._answered = 0  # steps, without pending ones
        self._ends: deque[int] = deque()  # how many steps were known when a sentence ended; those to come
        self._ended_at = -1 if start.position else 0
        self._flushes: deque[int] = deque()  # how many steps were known when a flush was requested; those to answer
        self.top = top
        self.chunks: list[StreamChunk] = []
        if self._pending:
            self._add(token_inputs(start.pending))

    @property
    def ready(self) -> int:
        """Number of steps that can be answered now: those of the current sentence."""
        return (self._ends[0] if self._ends else self._known) - self._consumed

    @property
    def due(self) -> bool:
        """Whether there is something to do: steps to consume, or a flush or an end to publish."""
        return self.ready > 0 or self.finished or bool(self._ends or self._flushes)

    @property
    def done(self) -> bool:
        """Whether everything was published except its result."""
        return super().done and not self._ends

    def flush(self) -> None:
        """Requests an output once all steps pushed so far are consumed, even if there is no step to show."""
        self._flushes.append(self._known)

    def push(self, inputs: Inputs) -> None:
        """Adds steps."""
        self._add(inputs)
        self.pushed += len(inputs)

    def _add(self, inputs: Inputs) -> None:
        self._pieces.append(inputs)
        self._known += len(inputs)

    def end_sentence(self) -> None:
        """Ends the sentence after the steps pushed so far. Does nothing if there is none since the last end."""
        if self._ended_at != self._known:
            self._ended_at = self._known
            self._ends.append(self._known)

    def take(self, count: int) -> Inputs:
        """Returns the next ``count`` steps, which count as consumed from now on."""
        self._consumed += count
        if len(self._pieces[0]) == count:
            return self._pieces.popleft()
        parts: list[Inputs] = []
        while count:
            piece = self._pieces[0]
            if len(piece) > count:
                self._pieces[0] = piece.cut(count, len(piece))
                piece = piece.cut(0, count)
            else:
                self._pieces.popleft()
            parts.append(piece)
            count -= len(piece)
        return concatenate(parts)

    def record(self, scores_TV: FloatArray) -> None:
        """Keeps the scores of the steps just taken, except pending ones."""
        first = self._consumed - len(scores_TV) - self._pending
        skipped = max(0, -first)
        if skipped < len(scores_TV):
            self.chunks.append(StreamChunk(first + skipped, scores_TV[skipped:].copy()))

    @classmethod
    def evaluate(cls, sequences: Listed[Self]) -> None:
        """Labels the steps just recorded, those of all sequences with the same ``top`` together."""
        for top in {sequence.top for sequence in sequences if sequence.top is not None}:
            chunks = [chunk for sequence in sequences if sequence.top == top for chunk in sequence.chunks]
            scores = [chunk.scores for chunk in chunks if chunk.scores is not None]
            labels = labels_alone(np.concatenate(scores), top) if scores else LabelChoices([], [], [])
            start = 0
            for chunk in chunks:
                end = start + len(chunk)
                chunk.scores, chunk.labels = None, labels.cut(start, end)
                start = end

    def _answer_flushes(self, shown: int) -> bool:
        """Answers the flushes of the first ``shown`` steps; returns whether there were any."""
        waiting = len(self._flushes)
        while self._flushes and self._flushes[0] <= shown:
            self._flushes.popleft()
        return len(self._flushes) < waiting

    def collect(self) -> StreamOutput | None:
        """Returns the chunks, and the end of a sentence."""
        chunks, self.chunks = self.chunks, []
        if self._ends and self._ends[0] == self._consumed:
            self._ends.popleft()
            self.row = self._initial
            if not chunks:
                chunks.append(StreamChunk(self._consumed - self._pending))
            chunks[-1].ends_sentence = True
        if self._flushes and self._answer_flushes(self._consumed):
            chunks.append(StreamChunk(self._consumed - self._pending, provisional=True))
        if not chunks:
            return None
        before, self._answered = self._answered, max(0, self._consumed - self._pending)
        shown = 0
        for chunk in chunks:
            if chunk.provisional:
                shown += len(chunk)
        return StreamOutput(chunks, self._answered - before, not self.ready, shown)
