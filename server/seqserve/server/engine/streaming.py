"""Sequences whose inputs come over time: what was fed is read as it comes; between, they rest.

A feed that rests holds its state and nothing else: it is in no batch and costs no step. It is fed on the event loop,
under the engine's lock, and read on the engine's thread; each side writes only what is its own.

Axes: T steps, V vocabulary or labels.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from seqserve.server.decoding.tagging import LabelChoices, labels_alone
from seqserve.server.engine.output_stream import OutputStream, StreamChunk, StreamOutput, StreamResult
from seqserve.server.engine.requests import Admission, StepStreamRequest, StreamRequest
from seqserve.server.engine.sequence import Sequence
from seqserve.server.errors import ServeError
from seqserve.server.model.inputs import Inputs, concatenate, token_inputs
from seqserve.server.model.state import FloatArray, State, pack, unpack


class StreamingSequence(Sequence):
    """Reads what it is fed."""

    def __init__(
        self, request: StreamRequest, state: State, stream: OutputStream, admission: Admission, admitted_s: float
    ) -> None:
        super().__init__(state, stream, admission, admitted_s)
        # Its state now; `state` is the one that it began with, until it ends.
        self.row = pack(state)[0] if state else np.empty(0, np.float32)
        self.finished = False  # nothing more comes
        self.fed: int = 0  # steps so far
        self._keeps_state = request.keeps_state
        self._error: ServeError | None = None

    @property
    def ready(self) -> int:
        """Steps that can be answered now, and are not."""
        raise NotImplementedError

    @property
    def due(self) -> bool:
        """Whether there is something to do: steps to read, or an end to tell."""
        return self.ready > 0 or self.finished

    @property
    def done(self) -> bool:
        """Whether everything has been told but its own end."""
        return self.finished and not self.ready

    @property
    def answerable(self) -> int:
        """Steps fed so far that are answered though nothing more comes; whether they are read yet or not."""
        return self.fed

    @property
    def backlog(self) -> int:
        """Steps that can be answered, or were shown, and that the reader has not taken. On the event loop.

        Made of what the event loop alone writes: a run in progress is in it until its answers are taken.
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
        """Nothing more comes: after what is there comes the end, or this error."""
        self._error = error
        self.finished = True  # last: the engine's thread looks for the error once it sees this

    def next_run(self, longest: int) -> int:
        """Steps of its next run, if that should have at most so many; 0: there is nothing to run."""
        return min(self.ready, longest)

    def take(self, count: int) -> Inputs:
        """The steps of a run; from now on they count as consumed."""
        raise NotImplementedError

    def read(self, scores_TV: FloatArray) -> None:
        """See what the graph gave for the steps just taken. It is copied if it is kept."""
        raise NotImplementedError

    def carry(self, row: FloatArray) -> None:
        """Take the state after the steps just taken: (U,)."""
        self.row = row

    def settle(self) -> StreamOutput | None:
        """What there is to tell after a step, if anything."""
        raise NotImplementedError

    def end(self, now_s: float) -> StreamResult | ServeError:
        """It has ended: what its reader is told at last."""
        self.ended = True
        if self._keeps_state:
            self.state = unpack(self.row[None], self.state)
        return self._error or StreamResult(self.fed, self.times(now_s), self.state if self._keeps_state else None)


class StepStreamSequence(StreamingSequence):
    """Gives the graph's outputs for each step."""

    def __init__(
        self,
        request: StepStreamRequest,
        initial: State,
        state: State,
        stream: OutputStream,
        admission: Admission,
        admitted_s: float,
    ) -> None:
        """Args: initial: the state in which a sentence begins."""
        super().__init__(request, state, stream, admission, admitted_s)
        self._initial = pack(initial)[0] if initial else self.row
        self._pieces: deque[Inputs] = deque()
        self._lead = len(request.start.pending)  # steps that are read and not told
        self._known = self._consumed = 0  # steps, the lead among them
        self._answered = 0  # steps, without the lead
        self._ends: deque[int] = deque()  # how many were known when a sentence ended; those to come
        self._ended_at = -1 if request.start.position else 0
        self._flushes: deque[int] = deque()  # how many were known when a flush was asked for; those to answer
        self.top = request.top
        self.steps: list[StreamChunk] = []  # that were read and are not told
        if self._lead:
            self._add(token_inputs(request.start.pending))

    @property
    def ready(self) -> int:
        """Steps that can be answered now: those of the sentence that is being read."""
        return (self._ends[0] if self._ends else self._known) - self._consumed

    @property
    def due(self) -> bool:
        """Whether there is something to do: steps to read, or a flush or the end of a sentence or of all to tell."""
        return self.ready > 0 or self.finished or bool(self._ends or self._flushes)

    @property
    def done(self) -> bool:
        """Whether everything has been told but its own end."""
        return super().done and not self._ends

    def flush(self) -> None:
        """Tell when all that was fed is read, by provisional steps of which there are none."""
        self._flushes.append(self._known)

    def push(self, inputs: Inputs) -> None:
        """Adds steps."""
        self._add(inputs)
        self.fed += len(inputs)

    def _add(self, inputs: Inputs) -> None:
        self._pieces.append(inputs)
        self._known += len(inputs)

    def end_sentence(self) -> None:
        """What was fed so far is a whole sentence. Without a step since the last end nothing happens."""
        if self._ended_at != self._known:
            self._ended_at = self._known
            self._ends.append(self._known)

    def take(self, count: int) -> Inputs:
        """The next steps."""
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

    def read(self, scores_TV: FloatArray) -> None:
        """Keep it, but for the lead's."""
        first = self._consumed - len(scores_TV) - self._lead
        untold = max(0, -first)
        if untold < len(scores_TV):
            self.steps.append(StreamChunk(first + untold, scores_TV[untold:].copy()))

    def _answer_flushes(self, shown: int) -> bool:
        """Whether some were asked for when so many steps were known, or fewer; they are answered now."""
        waiting = len(self._flushes)
        while self._flushes and self._flushes[0] <= shown:
            self._flushes.popleft()
        return len(self._flushes) < waiting

    def settle(self) -> StreamOutput | None:
        """Steps, and the end of a sentence."""
        steps, self.steps = self.steps, []
        if self._ends and self._ends[0] == self._consumed:
            self._ends.popleft()
            self.row = self._initial
            if not steps:
                steps.append(StreamChunk(self._consumed - self._lead))
            steps[-1].ends_sentence = True
        if self._flushes and self._answer_flushes(self._consumed):
            steps.append(StreamChunk(self._consumed - self._lead, provisional=True))
        if not steps:
            return None
        before, self._answered = self._answered, max(0, self._consumed - self._lead)
        shown = 0
        for each in steps:
            if each.provisional:
                shown += len(each)
        return StreamOutput(steps, self._answered - before, not self.ready, shown)


def label(feeds: list[StepStreamSequence]) -> None:
    """Label the steps just read, those of all feeds together that want as many of the likeliest labels."""
    for top in {feed.top for feed in feeds if feed.top is not None}:
        read = [steps for feed in feeds if feed.top == top for steps in feed.steps]
        scores = [steps.scores for steps in read if steps.scores is not None]
        found = labels_alone(np.concatenate(scores), top) if scores else LabelChoices([], [], [])
        start = 0
        for steps in read:
            end = start + len(steps)
            steps.scores, steps.labels = None, found.cut(start, end)
            start = end
