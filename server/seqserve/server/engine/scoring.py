"""Tokens that are scored as they come.

Axes: T steps, N steps of several feeds, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

import numpy as np

from seqserve.server.decoding.logprobs import StepReport, reports
from seqserve.server.engine.output_stream import OutputStream, StreamOutput
from seqserve.server.engine.requests import Admission, ScoreStreamRequest
from seqserve.server.engine.streaming import StreamingSequence
from seqserve.server.model.inputs import Inputs, token_inputs
from seqserve.server.model.state import FloatArray, State
from seqserve.v1 import manifest_pb2 as pb


class ScoreStreamSequence(StreamingSequence):
    """Tells how likely each token is. Its state trails by one token, which is read when the next one comes."""

    def __init__(
        self, request: ScoreStreamRequest, state: State, stream: OutputStream, admission: Admission, admitted_s: float
    ) -> None:
        super().__init__(request, state, stream, admission, admitted_s)
        self.top = request.top
        self.targets: list[int] = []  # of the steps just taken: the token after each
        self.logits: FloatArray | None = None  # (T, V), of the same
        self.reports: list[StepReport] = []  # the same
        lead: list[int] = request.start.pending.tolist()
        self._last = lead[0] if lead else -1  # the token that is read next
        self._tokens = deque(lead[1:])  # those after it
        self._begun = bool(lead)
        self._unscored = 0 if lead else 1  # a new sequence's first token, which has no probability
        self._untold = len(self._tokens)

    @property
    def ready(self) -> int:
        """Tokens that can be answered now: all but a new sequence's first."""
        return len(self._tokens)

    @property
    def answerable(self) -> int:
        """Tokens fed so far that have a score."""
        return max(0, self.fed - self._unscored)

    def push(self, inputs: Inputs) -> None:
        """Add tokens."""
        tokens: list[int] = inputs.arrays[pb.TENSOR_ROLE_TOKENS].tolist()
        self.fed += len(tokens)
        if not self._begun:
            self._begun, self._last = True, tokens.pop(0)
        self._tokens.extend(tokens)

    def take(self, count: int) -> Inputs:
        """The last token and all but the last of the next ones."""
        self.targets = [self._tokens.popleft() for _ in range(count)]
        inputs = token_inputs([self._last, *self.targets[:-1]])
        self._last = self.targets[-1]
        return inputs

    def read(self, scores_TV: FloatArray) -> None:
        """Keep the logits until all of the step are scored."""
        self.logits = scores_TV

    def settle(self) -> StreamOutput | None:
        """The reports, but for those of the lead."""
        told, self.reports, self.logits = self.reports[self._untold :], [], None
        self._untold -= min(self._untold, len(self.targets))
        self.targets = []
        return StreamOutput(told, len(told), not self._tokens) if told else None


def score(feeds: list[ScoreStreamSequence]) -> None:
    """Report the steps just read, those of all feeds together that want as many alternatives."""
    for top in {feed.top for feed in feeds}:
        alike = [feed for feed in feeds if feed.top == top]
        logits_NV = np.concatenate([feed.logits for feed in alike if feed.logits is not None])
        found = iter(reports(logits_NV, [token for feed in alike for token in feed.targets], top))
        for feed in alike:
            feed.reports = list(islice(found, len(feed.targets)))
