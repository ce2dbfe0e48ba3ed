"""Requests for the log-probabilities of a given text, and of a prompt.

Axes: T steps, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import ClassVar

from seqserve.server.decoding.logprobs import StepReport, reports
from seqserve.server.engine.output_stream import ScoreResult
from seqserve.server.engine.sequence import PrefillOnlySequence, SequenceContext, with_pending
from seqserve.server.model.inputs import Inputs, IntArray
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray

_NEW = SequenceState.new()


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """Computes the log-probability of each token of an input.

    Attributes:
        inputs: The tokens; at least one.
        top: How many of the most likely tokens to report at each step.
        start: Where the sequence begins.
        keeps_state: Whether the final state is wanted. It trails the input by one token.
    """

    inputs: Inputs
    top: int = 0
    start: SequenceState = _NEW
    keeps_state: bool = False
    samples: ClassVar[int] = 1

    def check(self, rows_max: int, vocabulary: int) -> None:
        """Accepts any batch and vocabulary."""

    def sequence(self, context: SequenceContext, servable: Servable, table: Listed[bytes]) -> ScoringSequence:
        """Makes the sequence that answers the request."""
        del servable, table
        return ScoringSequence(context, self)


class ScoringSequence(PrefillOnlySequence):
    """Computes the log-probabilities of its input."""

    def __init__(self, context: SequenceContext, request: ScoringRequest) -> None:
        known = with_pending(request.start, request.inputs)
        consumed = known.cut(0, len(known) - 1) if request.keeps_state else known  # the state trails by one token
        super().__init__(context, consumed)
        self._keeps_state = request.keeps_state
        self._scorer = InputScorer(known, len(known) - len(request.inputs), request.top)

    def record(self, outputs: Listed[FloatArray]) -> None:
        """Scores the tokens after the steps just taken."""
        self._scorer.record(outputs[0])

    def finish(self, now_s: float) -> ScoreResult:
        """Ends the sequence and returns all scores."""
        self.ended = True
        return ScoreResult(self._scorer.reports, self.times(now_s), self.state if self._keeps_state else None)


class InputScorer:
    """Scores the model's own input, run by run: the logits of a step are about the token after it.

    Attributes:
        reports: One for each scored token so far.
    """

    def __init__(self, inputs: Inputs, first: int, top: int) -> None:
        """Prepares to score an input.

        Args:
            inputs: All tokens that the model consumes, and the last one.
            first: Index of the first token to score. The very first token has no probability.
            top: How many of the most likely tokens to report at each step.
        """
        self.reports: list[StepReport] = []
        self._tokens: IntArray = inputs.tokens
        self._first = max(first, 1)
        self._consumed = 0
        self._top = top

    def record(self, logits_TV: FloatArray) -> None:
        """Scores the tokens after the next T steps."""
        start, self._consumed = self._consumed, self._consumed + len(logits_TV)
        skipped = max(0, self._first - 1 - start)
        targets = self._tokens[start + 1 + skipped : self._consumed + 1]
        self.reports += reports(logits_TV[skipped : skipped + len(targets)], targets.tolist(), self._top)
