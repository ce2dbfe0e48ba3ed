"""Feeds, those who feed them, and what each has to be answered."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqserve.server.decoding.logprobs import StepReport
from seqserve.server.engine.output_stream import StreamChunk, StreamResult
from seqserve.server.engine.requests import Admission, ScoreStreamRequest, StreamRequest
from seqserve.server.engine.stream_handle import StreamHandle
from seqserve.server.errors import ServeError
from seqserve.server.model.inputs import token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.state import FloatArray, State
from tests.server.engine.reference import NOTHING, Oracle, Past
from tests.server.engine.rig import LoadedModel, Rig, at_once


@dataclass(eq=False)
class Feeder:
    """One feed, what was fed to it, and what its reader has received."""

    rig: Rig
    request: StreamRequest
    stream: StreamHandle
    past: Past = NOTHING
    tokens: list[int] = field(default_factory=list[int])
    ends: list[int] = field(default_factory=list[int])  # tokens fed when a sentence ended
    steps: list[StreamChunk] = field(default_factory=list[StreamChunk])
    reports: list[StepReport] = field(default_factory=list[StepReport])
    error: ServeError | None = None
    finished: bool = False
    stalls: bool = False

    @property
    def end(self) -> StreamResult | None:
        result = self.stream.output.result
        assert result is None or isinstance(result, StreamResult)
        return result

    @property
    def done(self) -> bool:
        return self.end is not None or self.error is not None

    def give(self, tokens: Listed[int]) -> None:
        self.tokens += tokens
        self.stream.push(token_inputs(tokens))

    def end_sentence(self) -> None:
        self.ends.append(len(self.tokens))
        self.stream.end_sentence()

    def finish(self, error: ServeError | None = None) -> None:
        self.finished = True
        self.stream.finish(error)

    def read(self) -> None:
        """Takes the available outputs."""
        stream = self.stream.output
        try:
            while stream._items or (stream._error and not self.error):
                if isinstance(self.request, ScoreStreamRequest):
                    self.reports += at_once(stream.take_reports())
                else:
                    self.steps += at_once(stream.take_chunks())
        except ServeError as error:
            self.error = error

    def check(self, oracle: Oracle) -> int:
        """What the reader has received is what a model would say that read these tokens alone. Returns: of how many."""
        if isinstance(self.request, ScoreStreamRequest):
            return self._check_reports(oracle)
        answered = 0
        for steps in self.steps:
            assert steps.first == answered, "a step was left out, or told twice"
            for scores_V in () if steps.scores is None else steps.scores:
                np.testing.assert_array_equal(scores_V, self._expected(oracle, answered)[0])
                answered += 1
            if steps.ends_sentence:
                assert answered in self.ends
        if self.end is not None:
            assert answered == len(self.tokens) == self.end.steps
            assert {sum(map(len, self.steps[: i + 1])) for i, s in enumerate(self.steps) if s.ends_sentence} == {
                end for end in self.ends if end or self.past.tokens
            }
            if self.request.keeps_state:
                assert_same(self.end.state, self._expected(oracle, len(self.tokens), after=True)[1])
        return answered

    def _check_reports(self, oracle: Oracle) -> int:
        expected = oracle.logprobs(self.tokens, self.past) if self.tokens else []
        if self.end is not None:
            assert len(self.reports) == len(expected)
            assert self.end.steps == len(self.tokens)
        found = [report.chosen.logprob for report in self.reports]
        np.testing.assert_allclose(found, expected[: len(found)], rtol=0, atol=1e-12)
        scored = self.tokens[0 if self.past.tokens else 1 :]
        assert [report.chosen.token for report in self.reports] == scored[: len(found)]
        return len(found)

    def _expected(self, oracle: Oracle, step: int, *, after: bool = False) -> tuple[FloatArray, State]:
        """The graph's output for a step, and the state after it; ``after``: the state before it, alone."""
        begins = max((end for end in self.ends if end <= step), default=None)
        before = list(self.past.tokens) if begins is None else []
        sentence = before + self.tokens[begins or 0 : step + (not after)]
        if not sentence:
            return np.empty(0, np.float32), oracle.initial_state()
        outputs, state = oracle.read(sentence)
        return outputs[0][0, 0], state

    def following(self) -> tuple[SequenceState, Past]:
        """Returns the state from which its sequence continues, after it has ended and kept its state."""
        assert self.end is not None
        past = self.past.plus(self.tokens)
        scores = isinstance(self.request, ScoreStreamRequest)
        return SequenceState(self.end.state, len(past.tokens), past.tokens[-1] if scores else None), past


def assert_same(state: State | None, expected: State) -> None:
    assert state is not None
    for tensor, wanted in zip(state, expected, strict=True):
        np.testing.assert_array_equal(tensor, wanted)


class FeedRig(Rig):
    """An engine at rest, with feeds too."""

    def __init__(self, model: LoadedModel, *args: Any) -> None:
        super().__init__(model, *args)
        self.feeders: list[Feeder] = []

    def open(self, request: StreamRequest, past: Past = NOTHING, **admission: Any) -> Feeder:
        """Open a feed. Args: past: what its sequence holds before."""
        feeder = Feeder(self, request, self.engine.open(request, Admission(**admission)), past)
        self.feeders.append(feeder)
        return feeder

    def leave(self, feeder: Feeder) -> None:
        """Its caller goes away."""
        feeder.stream.cancel()
        self.feeders.remove(feeder)

    def step(self) -> bool:
        """One step of the engine; then all read but those who stall."""
        ran = super().step()
        for feeder in self.feeders:
            if not feeder.stalls:
                feeder.read()
        return ran

    def assert_nothing_is_left(self) -> None:
        """As Rig, and no feed."""
        super().assert_nothing_is_left()
        assert (len(self.scheduler.open_streams), len(self.scheduler.ready_streams)) == (0, 0)
