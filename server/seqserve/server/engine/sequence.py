"""One request in progress: its inputs, how many of them are consumed, and the state after those.

Axes: T steps, U units of a packed state, V vocabulary or labels.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seqserve.server.decoding.logprobs import unusable_rows
from seqserve.server.engine.output_stream import OutputStream, Result, StepOutputs, Times
from seqserve.server.engine.prefix_cache import PrefixCache
from seqserve.server.engine.stats import EngineStats
from seqserve.server.model.inputs import Inputs, token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.state import FloatArray, State


@dataclass(frozen=True, slots=True)
class Admission:
    """The terms on which a request waits for its turn.

    Attributes:
        caller: Who sent the request. Callers take turns.
        priority: Requests with a higher priority go first.
        deadline_s: Moment on the engine's clock by which the request has to be done, in seconds; None: no limit.
    """

    caller: str = ""
    priority: int = 0
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class SequenceContext:
    """What an engine gives a new sequence.

    Attributes:
        state: The state that the sequence begins from, arrays (D, 1, H).
        stream: Where its outputs go.
        admission: The terms on which it was admitted.
        admitted_s: When it was admitted, on the engine's clock, in seconds.
    """

    state: State
    stream: OutputStream
    admission: Admission
    admitted_s: float


class Sequence:
    """The base of all sequences. Times are moments of the engine's clock, in seconds.

    Attributes:
        state: The sequence's state, arrays (D, 1, H). While the sequence decodes, the batch has a later one. At the
            end, if the request wants it: the final state.
        stream: Where its outputs go.
        admission: The terms on which it was admitted.
        ended: Whether it takes part in no later step.
        engine_index: Index of its engine in the pool.
    """

    def __init__(self, context: SequenceContext) -> None:
        self.state = context.state
        self.stream = context.stream
        self.admission = context.admission
        self.ended = False
        self.engine_index = 0
        self._admitted_s = context.admitted_s
        self._started_s: float | None = None
        self._first_output_s: float | None = None

    @property
    def members(self) -> Listed[Sequence]:
        """The sequence and its forks, by sample."""
        return (self,)

    @property
    def backlog(self) -> int:
        """Number of outputs that its reader has not taken: generated tokens, or steps that can be answered."""
        return 0

    def mark_started(self, now_s: float) -> None:
        """Records when its first step began."""
        if self._started_s is None:
            self._started_s = now_s

    def mark_first_output(self, now_s: float) -> None:
        """Records when its first output was ready."""
        if self._first_output_s is None:
            self._first_output_s = now_s

    def times(self, now_s: float) -> Times:
        """Returns its times, given that it ends now."""
        started_s = now_s if self._started_s is None else self._started_s
        first_s = now_s if self._first_output_s is None else self._first_output_s
        return Times(self._admitted_s, started_s, first_s, now_s)


class UnusableScoresError(Exception):
    """The graph's outputs for a sequence are not finite. Raised in a step, and ends only that sequence."""


class PrefillHost(Protocol):
    """What a sequence may use after its prefill. Implemented by the runner, on the engine's thread."""

    @property
    def prefixes(self) -> PrefixCache:
        """The cache of states by prompt prefix."""
        ...

    @property
    def stats(self) -> EngineStats:
        """The engine's counters; the engine's thread alone writes to those that count tokens and steps."""
        ...

    def now_s(self) -> float:
        """Returns the time on the engine's clock, in seconds."""
        ...

    def fork(self, sequence: PrefillSequence, /) -> None:
        """Makes the sequence's forks and queues them, under the engine's lock."""
        ...


class PrefillSequence(Sequence):
    """A sequence whose input is known when it is admitted, and is consumed first.

    Attributes:
        rows_needed: Rows of the decode batch that the sequence takes once its input is consumed.
        block_aligned: Whether its prefill runs end at multiples of the prefix cache's block where they can.
        consumed: Number of input steps that were consumed.
    """

    rows_needed = 1
    block_aligned = False

    def __init__(self, context: SequenceContext, inputs: Inputs) -> None:
        super().__init__(context)
        self.consumed = 0
        self._inputs = inputs
        self._length = len(inputs)

    @property
    def remaining(self) -> int:
        """Number of known steps that are not consumed yet."""
        return self._length - self.consumed

    def take(self, count: int, now_s: float) -> Inputs:
        """Returns the next ``count`` known steps, which count as consumed from now on."""
        self.mark_started(now_s)
        start, self.consumed = self.consumed, self.consumed + count
        return self._inputs.cut(start, self.consumed)

    def record(self, outputs: Listed[FloatArray]) -> None:
        """Records what the graph gave for the steps just taken: arrays (T, V), which are copied if they are kept."""

    def prefilled(self, outputs: Listed[FloatArray], host: PrefillHost) -> StepOutputs:
        """Continues after a prefill run.

        Args:
            outputs: What the graph gave for the steps just taken: arrays (T, V).
            host: What the sequence may use.

        Returns:
            What there is to publish.

        Raises:
            UnusableScoresError: The outputs are not finite.
        """
        raise NotImplementedError

    def skip_cached_prefix(self, prefixes: PrefixCache) -> None:
        """Skips the inputs whose state is in the cache, if the sequence may."""

    def early_result(self, now_s: float) -> Result | None:
        """Returns the result of a sequence that has no step to run; None if it has one."""
        del now_s
        return None

    def make_forks(self) -> Listed[PrefillSequence]:
        """Makes the further samples of its input."""
        return ()


class PrefillOnlySequence(PrefillSequence):
    """A sequence that ends with a result once its input is consumed."""

    rows_needed = 0

    def prefilled(self, outputs: Listed[FloatArray], host: PrefillHost) -> StepOutputs:
        """Checks and records the outputs, and ends after the last of them."""
        for output in outputs:
            check_scores(output)
        self.record(outputs)
        return [] if self.remaining else [(self.stream, self.finish(host.now_s()))]

    def early_result(self, now_s: float) -> Result | None:
        """Returns the result of a sequence whose only token is not consumed: its state trails by one token."""
        return None if self.remaining else self.finish(now_s)

    def finish(self, now_s: float) -> Result:
        """Ends the sequence and returns its result."""
        raise NotImplementedError


def check_scores(scores_TV: FloatArray) -> None:
    """Checks that the highest score of each step is finite.

    Raises:
        UnusableScoresError: It is not, for a step.
    """
    if len(unusable_rows(scores_TV)):
        raise UnusableScoresError


def with_pending(start: SequenceState, inputs: Inputs) -> Inputs:
    """Returns what the model consumes: the tokens that the state has not consumed, and the request's own.

    Args:
        start: Where the sequence begins.
        inputs: The request's inputs.
    """
    if not len(start.pending):
        return inputs
    return token_inputs(np.concatenate([start.pending, inputs.tokens]))  # arrays: there may be millions
