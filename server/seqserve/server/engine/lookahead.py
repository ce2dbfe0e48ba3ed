"""Feeds of models that see the future: outputs are final once enough of it is there, or the sentence has ended.

The outputs of a step come from the forward state after the steps before it, which is carried exactly, and from a
backward pass over a window: the step and the look-ahead after it. So what is final depends on the steps alone, and not
on how they were cut into messages. Where a sentence ends within the window, one run answers all that is left of it,
with what the whole sentence would give.

       consumed ─┐     ┌─ known
    ─ ─ ─ ─ ─ ─ ─[t · · ·]     a window of t and a look-ahead of 3: t is final, the others are provisional
"""

from __future__ import annotations

from seqserve.server.engine.output_stream import OutputStream, StreamChunk
from seqserve.server.engine.requests import Admission, StepStreamRequest
from seqserve.server.engine.streaming import StepStreamSequence
from seqserve.server.errors import InputTooLongError, TaskMismatchError
from seqserve.server.model.inputs import Inputs, concatenate
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray, State

_SENTENCE_STEPS_MAX = 4096  # of models that name no limit


def step_stream_sequence(
    request: StepStreamRequest,
    servable: Servable,
    state: State,
    stream: OutputStream,
    admission: Admission,
    admitted_s: float,
) -> StepStreamSequence:
    """The feed that a model's steps need.

    Raises: TaskMismatchError for a look-ahead with a model that does not give its forward state out.
    """
    common = request, servable.initial_state(), state, stream, admission, admitted_s
    if not servable.sees_future:
        return StepStreamSequence(*common)
    if request.lookahead is not None and not servable.carries_forward_state:
        raise TaskMismatchError(
            f"model {servable.id.model!r} reads whole sentences alone, for it was exported without its forward state; "
            "for a look-ahead export it again (seqserve-train export CHECKPOINT), or ask for answers at the end of the "
            "sentence"
        )
    return LookaheadSequence(*common, steps_max=servable.manifest.limits.tokens_max or _SENTENCE_STEPS_MAX)


class LookaheadSequence(StepStreamSequence):
    """Gives the graph's outputs for each step, once the steps after it that it may see are there."""

    def __init__(
        self,
        request: StepStreamRequest,
        initial: State,
        state: State,
        stream: OutputStream,
        admission: Admission,
        admitted_s: float,
        *,
        steps_max: int,
    ) -> None:
        """Args: steps_max: of a sentence that is answered as a whole."""
        super().__init__(request, initial, state, stream, admission, admitted_s)
        self._lookahead = request.lookahead
        self._provisional = request.provisional
        self._steps_max = steps_max
        self._shown = 0  # steps known when provisional ones were told last
        self._answers = 0  # steps of the window just taken that are final

    @property
    def _end(self) -> int | None:
        """Steps known at the end of the sentence that is being read; None: it goes on."""
        return self._ends[0] if self._ends else self._known if self.finished else None

    @property
    def ready(self) -> int:
        """Steps whose future is there."""
        if (end := self._end) is not None:
            return end - self._consumed
        return 0 if self._lookahead is None else max(0, self._known - self._consumed - self._lookahead)

    @property
    def answerable(self) -> int:
        """Steps fed so far whose future is there, read or not."""
        if self.finished or self._lookahead is None:
            return self.fed if self.finished else max(0, self._ended_at)
        return max(0, self._ended_at, self.fed - self._lookahead)

    @property
    def due(self) -> bool:
        """Whether there is something to do: also steps to show that are not final."""
        return self._hidden or super().due

    @property
    def _hidden(self) -> bool:
        """Whether steps that are not final are to be shown."""
        shown = max(self._shown, self._consumed)
        flushed = max(self._flushes, default=0) > self._consumed  # not by index: the other thread may take the last one
        return flushed or (self._provisional and self._known > shown)

    def push(self, inputs: Inputs) -> None:
        """Add steps.

        Raises: InputTooLongError for a sentence that is too long to be answered as a whole.
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
        """Steps of its next window, which may be more than ``longest``, for it cannot be cut; 0: nothing to run."""
        del longest
        if self.ready:
            rest = self._known if self._end is None else self._end
            return min(rest - self._consumed, self._window)
        return self._known - self._consumed if self._hidden else 0

    @property
    def _window(self) -> int:
        """Most steps of a run that has final ones."""
        return self._steps_max if self._lookahead is None else self._lookahead + 1

    def take(self, count: int) -> Inputs:
        """The steps of a window. More may be known by now than when it was chosen, and its sentence may have ended."""
        parts = [self._pieces.popleft()]
        while sum(map(len, parts)) < count:
            parts.append(self._pieces.popleft())
        piece = concatenate(parts)
        self._pieces.appendleft(piece)  # all of it: the next window begins within
        if self._end == self._consumed + count:
            self._answers = count
        else:
            self._answers = int(self._lookahead is not None and count > self._lookahead)
        return piece.cut(0, count)

    def carry(self, row: FloatArray) -> None:
        """Take the state after the window's first step, if that is final."""
        if self._answers:
            super().carry(row)

    def read(self, scores_TV: FloatArray) -> None:
        """Keep what is final, and what is to be shown of the rest once no more is final."""
        answers, first = self._answers, self._consumed
        known = first + len(scores_TV)
        if answers:
            super().take(answers)
            super().read(scores_TV[:answers])
        if known > self._consumed and self._hidden and not self.ready:
            self.steps.append(StreamChunk(self._consumed, scores_TV[answers:].copy(), provisional=True))
            self._shown = known
            self._answer_flushes(known)
