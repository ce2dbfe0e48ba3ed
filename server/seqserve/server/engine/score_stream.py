"""Streams of tokens whose log-probabilities are computed as they arrive.

Axes: T steps, N steps of several streams, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np

from seqserve.server.decoding.logprobs import StepReport, reports
from seqserve.server.engine.output_stream import StreamOutput
from seqserve.server.engine.sequence import SequenceContext
from seqserve.server.engine.streaming import StreamingSequence
from seqserve.server.model.inputs import Inputs, token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray

_NEW = SequenceState.new()


@dataclass(frozen=True, slots=True)
class ScoreStreamRequest:
    """Computes the log-probabilities of tokens as they arrive.

    Attributes:
        top: How many of the most likely tokens to report at each step.
        start: Where the sequence begins.
        keeps_state: Whether the final state is wanted. It trails the tokens by one.
    """

    top: int = 0
    start: SequenceState = _NEW
    keeps_state: bool = False

    def sequence(self, context: SequenceContext, servable: Servable) -> ScoreStreamSequence:
        """Makes the sequence that answers the request."""
        del servable
        return ScoreStreamSequence(context, self)


class ScoreStreamSequence(StreamingSequence):
    """Scores the tokens pushed. Its state trails by one token, which is consumed when the next one arrives.

    Attributes:
        top: How many of the most likely tokens to report at each step.
        targets: Of the steps just taken: the token after each.
        logits: What the graph gave for these steps, (T, V).
        reports: The reports of these steps.
    """

    def __init__(self, context: SequenceContext, request: ScoreStreamRequest) -> None:
        super().__init__(context, keeps_state=request.keeps_state)
        self.top = request.top
        self.targets: list[int] = []
        self.logits: FloatArray | None = None
        self.reports: list[StepReport] = []
        pending: list[int] = request.start.pending.tolist()
        self._last = pending[0] if pending else -1  # the token that is consumed next
        self._tokens = deque(pending[1:])  # those after it
        self._begun = bool(pending)
        self._unscored = 0 if pending else 1  # a new sequence's first token, which has no probability
        self._unreported = len(self._tokens)  # pending tokens, whose scores nobody wants

    @property
    def ready(self) -> int:
        """Number of tokens that can be scored now: all but a new sequence's first."""
        return len(self._tokens)

    @property
    def answerable(self) -> int:
        """Number of tokens pushed so far that have a score."""
        return max(0, self.pushed - self._unscored)

    def push(self, inputs: Inputs) -> None:
        """Adds tokens."""
        tokens: list[int] = inputs.tokens.tolist()
        self.pushed += len(tokens)
        if not self._begun:
            self._begun, self._last = True, tokens.pop(0)
        self._tokens.extend(tokens)

    def take(self, count: int) -> Inputs:
        """Returns the last token and all but the last of the next ``count`` ones."""
        self.targets = [self._tokens.popleft() for _ in range(count)]
        inputs = token_inputs([self._last, *self.targets[:-1]])
        self._last = self.targets[-1]
        return inputs

    def record(self, scores_TV: FloatArray) -> None:
        """Keeps the logits until those of all streams of the step are scored."""
        self.logits = scores_TV

    @classmethod
    def evaluate(cls, sequences: Listed[Self]) -> None:
        """Scores the steps just taken, those of all sequences with the same ``top`` together."""
        for top in {sequence.top for sequence in sequences}:
            group = [sequence for sequence in sequences if sequence.top == top]
            logits_NV = np.concatenate([sequence.logits for sequence in group if sequence.logits is not None])
            scored = iter(reports(logits_NV, [token for sequence in group for token in sequence.targets], top))
            for sequence in group:
                sequence.reports = list(islice(scored, len(sequence.targets)))

    def collect(self) -> StreamOutput | None:
        """Returns the reports, except those of pending tokens."""
        new, self.reports, self.logits = self.reports[self._unreported :], [], None
        self._unreported -= min(self._unreported, len(self.targets))
        self.targets = []
        return StreamOutput(new, len(new), not self._tokens) if new else None
