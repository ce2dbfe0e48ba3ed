"""One request in progress: inputs that are to be consumed, and the state after those that are.

A generation carries its state one token behind its text: the last token is fed first in the next step. So it can stop
anywhere, fork, and go on later, without an extra step.

Axes: T steps, V vocabulary or labels.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed

import numpy as np

from seqserve.server.decoding.logprobs import StepReport, reports
from seqserve.server.engine.output_stream import ForwardResult, OutputStream, Result, ScoreResult, Times
from seqserve.server.engine.requests import Admission, ForwardRequest, ScoringRequest, with_pending
from seqserve.server.model.inputs import Inputs, IntArray
from seqserve.server.model.state import FloatArray, State
from seqserve.v1 import manifest_pb2 as pb


class Sequence:
    """What every sequence has. Times are moments of the engine's clock, in seconds.

    state: arrays (D, 1, H), the sequence's own; while it decodes, the batch has a later one. At the end, if its request
    wants it: the final one.
    """

    def __init__(self, state: State, stream: OutputStream, admission: Admission, admitted_s: float) -> None:
        self.state = state
        self.stream = stream
        self.admission = admission
        self.ended = False
        self.engine_index = 0  # which engine of its servable runs it
        self._admitted_s = admitted_s
        self._started_s: float | None = None
        self._first_output_s: float | None = None

    @property
    def members(self) -> Listed[Sequence]:
        """It and its forks, by sample."""
        return (self,)

    @property
    def backlog(self) -> int:
        """What its reader has not taken: tokens generated, or steps of a feed that can be answered."""
        return 0

    def started(self, now_s: float) -> None:
        """Note when the first step began."""
        if self._started_s is None:
            self._started_s = now_s

    def times(self, now_s: float) -> Times:
        """Its moments, if it ends now."""
        started_s = now_s if self._started_s is None else self._started_s
        first_s = now_s if self._first_output_s is None else self._first_output_s
        return Times(self._admitted_s, started_s, first_s, now_s)

    def first_output(self, now_s: float) -> None:
        """Note when the first output was there."""
        if self._first_output_s is None:
            self._first_output_s = now_s


class PrefillSequence(Sequence):
    """A sequence whose inputs are known when it begins."""

    rows_needed = 1  # rows of a batch that it takes once its inputs are read

    def __init__(
        self, inputs: Inputs, state: State, stream: OutputStream, admission: Admission, admitted_s: float
    ) -> None:
        super().__init__(state, stream, admission, admitted_s)
        self.consumed = 0
        self._inputs = inputs
        self._length = len(inputs)

    @property
    def remaining(self) -> int:
        """Known steps that are not consumed yet."""
        return self._length - self.consumed

    def take(self, count: int, now_s: float) -> Inputs:
        """The next ``count`` known steps; from now on they count as consumed."""
        self.started(now_s)
        start, self.consumed = self.consumed, self.consumed + count
        return self._inputs.cut(start, self.consumed)

    def read(self, outputs: Listed[FloatArray]) -> None:
        """See what the graph gave for the steps just taken: (T, V) each. They are copied if they are kept."""


class PrefillOnlySequence(PrefillSequence):
    """A sequence that ends with a result once its inputs are read."""

    rows_needed = 0

    def finish(self, now_s: float) -> Result:
        """Its result."""
        raise NotImplementedError


class ForwardSequence(PrefillOnlySequence):
    """Gives the graph's outputs for its whole input."""

    def __init__(
        self, request: ForwardRequest, state: State, stream: OutputStream, admission: Admission, admitted_s: float
    ) -> None:
        super().__init__(request.inputs, state, stream, admission, admitted_s)
        self._steps = request.steps
        self._pieces: list[list[FloatArray]] = []

    def read(self, outputs: Listed[FloatArray]) -> None:
        """Keep a piece's outputs, as far as they are wanted."""
        if self._steps is None:
            self._pieces.append([output.copy() for output in outputs])
        else:
            start = self.consumed - len(outputs[0])
            places = [step - start for step in self._steps if start <= step < self.consumed]
            self._pieces.append([output[places] for output in outputs])

    def finish(self, now_s: float) -> ForwardResult:
        """All pieces as one."""
        self.ended = True
        return ForwardResult(
            tuple(np.concatenate(parts) for parts in zip(*self._pieces, strict=True)), self.times(now_s)
        )


class InputScorer:
    """How likely the model finds its own input, piece by piece: a step's logits speak of the token after it."""

    def __init__(self, inputs: Inputs, first: int, top: int) -> None:
        """Args: inputs: all that is fed; first: index of the first token to report, if it is not the very first."""
        self.reports: list[StepReport] = []
        self._tokens: IntArray = inputs.arrays[pb.TENSOR_ROLE_TOKENS].astype(np.int32)
        self._first = max(first, 1)
        self._consumed = 0
        self._top = top

    def read(self, logits_TV: FloatArray) -> None:
        """Take the next steps' logits."""
        start, self._consumed = self._consumed, self._consumed + len(logits_TV)
        skipped = max(0, self._first - 1 - start)
        targets = self._tokens[start + 1 + skipped : self._consumed + 1]
        self.reports += reports(logits_TV[skipped : skipped + len(targets)], targets.tolist(), self._top)


class ScoringSequence(PrefillOnlySequence):
    """Tells how likely its input is."""

    def __init__(
        self, request: ScoringRequest, state: State, stream: OutputStream, admission: Admission, admitted_s: float
    ) -> None:
        known = with_pending(request.start, request.inputs)
        consumed = known.cut(0, len(known) - 1) if request.keeps_state else known  # the state trails by one token
        super().__init__(consumed, state, stream, admission, admitted_s)
        self._keeps_state = request.keeps_state
        self._scored = InputScorer(known, len(known) - len(request.inputs), request.top)

    def read(self, outputs: Listed[FloatArray]) -> None:
        """Score a piece."""
        self._scored.read(outputs[0])

    def finish(self, now_s: float) -> ScoreResult:
        """All scores."""
        self.ended = True
        return ScoreResult(self._scored.reports, self.times(now_s), self.state if self._keeps_state else None)
