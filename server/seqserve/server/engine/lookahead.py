"""Streams of step outputs, also of bidirectional models: a step is final once its look-ahead has arrived.

The outputs of a step come from the forward state after the steps before it, which is carried exactly, and from a
backward pass over a window: the step and the look-ahead after it. So the final outputs depend on the steps alone, not
on how the steps were divided into messages. Where a sentence ends within the window, one run answers the rest of the
sentence with the outputs that the whole sentence would give.

       consumed ─┐     ┌─ known
    ─ ─ ─ ─ ─ ─ ─[t · · ·]     a window of t and a look-ahead of 3: t is final, the others are provisional
"""

from __future__ import annotations

from dataclasses import dataclass

from seqserve.server.engine.output_stream import StreamChunk
from seqserve.server.engine.sequence import SequenceContext
from seqserve.server.engine.streaming import StepStreamSequence
from seqserve.server.errors import InputTooLongError, TaskMismatchError
from seqserve.server.model.inputs import Inputs, concatenate
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray, State

_NEW = SequenceState.new()
_SENTENCE_STEPS_MAX = 4096  # of models without a limit


@dataclass(frozen=True, slots=True)
class StepStreamRequest:
    """Runs the graph over inputs as they arrive and returns its outputs for each step.

    Attributes:
        start: Where the sequence begins.
        keeps_state: Whether the final state is wanted. It has consumed all steps.
        lookahead: Bidirectional models: number of steps that must follow a step before its outputs are final; None: the
            rest of the sentence.
        provisional: Whether to publish outputs that are not final yet.
        top: How many of the most likely labels to report with each step's own label; None: the scores instead.
    """

    start: SequenceState = _NEW
    keeps_state: bool = False
    lookahead: int | None = 0
    provisional: bool = False
    top: int | None = None

    def sequence(self, context: SequenceContext, servable: Servable) -> StepStreamSequence:
        """Makes the sequence that answers the request.

        Raises:
            TaskMismatchError: The request has a look-ahead and the model was exported without its forward state.
        """
        initial = servable.initial_state()
        if not servable.sees_future:
            return StepStreamSequence(context, initial, self.start, keeps_state=self.keeps_state, top=self.top)
        if self.lookahead is not None and not servable.carries_forward_state:
            raise TaskMismatchError(
                f"model {servable.id.model!r} reads whole sentences alone, for it was exported without its forward "
                "state; for a look-ahead export it again (seqserve-train export CHECKPOINT), or ask for answers at the "
                "end of the sentence"
            )
        steps_max = servable.manifest.limits.tokens_max or _SENTENCE_STEPS_MAX
        return LookaheadSequence(context, initial, self, steps_max=steps_max)


class LookaheadSequence(StepStreamSequence):
    """Gives the graph's outputs for each step once the steps of its look-ahead have arrived."""

    def __init__(self, context: SequenceContext, initial: State, request: StepStreamRequest, *, steps_max: int) -> None:
        """Makes a sequence that rests.

        Args:
            context: What the engine gives it.
            initial: The model's initial state.
            request: What to compute.
            steps_max: Maximum length of a sentence that is answered as a whole, in steps.
        """
        super().__init__(context, initial, request.start, keeps_state=request.keeps_state, top=request.top)
        self._lookahead = request.lookahead
        self._provisional = request.provisional
        self._steps_max = steps_max
        self._shown = 0  # steps known when provisional ones were published last
        self._final = 0  # steps of the window just taken that are final

    @property
    def _end(self) -> int | None:
        """Number of steps known at the end of the current sentence; None: it has not ended."""
        return self._ends[0] if self._ends else self._known if self.finished else None

    @property
    def ready(self) -> int:
        """Number of steps whose look-ahead has arrived."""
        if (end := self._end) is not None:
            return end - self._consumed
        return 0 if self._lookahead is None else max(0, self._known - self._consumed - self._lookahead)

    @property
    def answerable(self) -> int:
        """Number of steps pushed so far whose look-ahead has arrived, consumed or not."""
        if self.finished or self._lookahead is None:
            return self.pushed if self.finished else max(0, self._ended_at)
        return max(0, self._ended_at, self.pushed - self._lookahead)

    @property
    def due(self) -> bool:
        """Whether there is something to do, steps to show that are not final included."""
        return self._hidden or super().due

    @property
    def _hidden(self) -> bool:
        """Whether there are steps to show that are not final."""
        shown = max(self._shown, self._consumed)
        flushed = max(self._flushes, default=0) > self._consumed  # not by index: the other thread may take the last one
        return flushed or (self._provisional and self._known > shown)

    def push(self, inputs: Inputs) -> None:
        """Adds steps.

        Raises:
            InputTooLongError: The sentence is too long to be answered as a whole.
        """
        length = self._known + len(inputs) - max(self._ended_at, 0)
        if self._lookahead is None and length > self._steps_max:
            raise InputTooLongError(
                f"the sentence has {length} tokens so far, at most {self._steps_max} are answered as a whole; send a "
                "sentence_end where it ends, choose a sentence_rule, or ask for a look-ahead",
                field="config.finality",
            )
        super().push(inputs)

    def next_run(self, longest: int) -> int:
        """Returns the length of its next window, even if more than ``longest``: it is not cut. 0: nothing to run.

        A window never contains steps of two sentences: an end is published before the next sentence is looked at.
        """
        del longest
        if (end := self._end) is not None:
            return min(end - self._consumed, self._window)
        unread = self._known - self._consumed
        if self.ready:
            return min(unread, self._window)
        return unread if self._hidden else 0

    @property
    def _window(self) -> int:
        """Maximum number of steps of a run that has final ones."""
        return self._steps_max if self._lookahead is None else self._lookahead + 1

    def take(self, count: int) -> Inputs:
        """Returns the steps of a window. Since it was chosen, more steps may have come, and the sentence's end."""
        parts = [self._pieces.popleft()]
        while sum(map(len, parts)) < count:
            parts.append(self._pieces.popleft())
        piece = concatenate(parts)
        self._pieces.appendleft(piece)  # all of it: the next window begins within
        if self._end == self._consumed + count:
            self._final = count
        else:
            self._final = int(self._lookahead is not None and count > self._lookahead)
        return piece.cut(0, count)

    def carry(self, row: FloatArray) -> None:
        """Takes the state after the window's first step, if that step is final."""
        if self._final:
            super().carry(row)

    def record(self, scores_TV: FloatArray) -> None:
        """Keeps the final steps, and the steps to show of the rest once no more are final."""
        final, first = self._final, self._consumed
        known = first + len(scores_TV)
        if final:
            super().take(final)
            super().record(scores_TV[:final])
        if known > self._consumed and self._hidden and not self.ready:
            self.chunks.append(StreamChunk(self._consumed, scores_TV[final:].copy(), provisional=True))
            self._shown = known
            self._answer_flushes(known)
