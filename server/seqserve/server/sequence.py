"""Requests, and one request in progress.

A generation carries its state one token behind its text: the last token is fed first in the next step. So it can stop
anywhere, and go on later, without an extra step.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass

from seqserve.server.detokenization import StopMatcher
from seqserve.server.inputs import Inputs
from seqserve.server.randomness import Uniforms
from seqserve.server.sampling import SamplingSpec, StepReport
from seqserve.server.state import FloatArray, State
from seqserve.server.stream import End, FinishReason, Output, OutputStream, Times


@dataclass(frozen=True, slots=True)
class StoppingSpec:
    """When a generation ends; validated, nothing absent. end_token: the model's, None to ignore it."""

    max_tokens: int
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_tokens: frozenset[int] = frozenset()
    end_token: int | None = None
    include_stop: bool = False


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to generate, validated. inputs: the prompt, at least one step. position: tokens before the prompt."""

    inputs: Inputs
    sampling: SamplingSpec
    stopping: StoppingSpec
    position: int = 0


@dataclass(frozen=True, slots=True)
class ReadingRequest:
    """Read a whole input, at least one step, and give the graph's outputs for it."""

    inputs: Inputs


class Sequence:
    """One request in progress: known inputs that are to be consumed, and the state after those that are.

    Times are moments of the engine's clock, in seconds.
    """

    def __init__(
        self, inputs: Inputs, state: State, stream: OutputStream, admitted_s: float, deadline_s: float | None = None
    ) -> None:
        self.state = state
        self.stream = stream
        self.deadline_s = deadline_s
        self.ended = False
        self._inputs = inputs
        self._consumed = 0
        self._admitted_s = admitted_s
        self._started_s: float | None = None
        self._first_output_s: float | None = None

    @property
    def remaining(self) -> int:
        """Known steps that are not consumed yet."""
        return len(self._inputs) - self._consumed

    @property
    def backlog(self) -> int:
        """Tokens generated that the reader has not taken."""
        return 0

    def take(self, count: int, now_s: float) -> Inputs:
        """The next ``count`` known steps; from now on they count as consumed."""
        if self._started_s is None:
            self._started_s = now_s
        start, self._consumed = self._consumed, self._consumed + count
        return self._inputs.cut(start, self._consumed)

    def end(self, reason: FinishReason, now_s: float) -> End:
        """End here."""
        self.ended = True
        return End(reason, self._times(now_s))

    def _times(self, now_s: float) -> Times:
        started_s = now_s if self._started_s is None else self._started_s
        first_s = now_s if self._first_output_s is None else self._first_output_s
        return Times(self._admitted_s, started_s, first_s, now_s)


class ReadingSequence(Sequence):
    """A whole input to be read."""

    def finish(self, arrays: tuple[FloatArray, ...], now_s: float) -> Output:
        """End with what the graph gave: arrays (T, V)."""
        return Output(arrays=arrays, end=self.end(FinishReason.READ, now_s))


class GenerationSequence(Sequence):
    """A prompt to be read, and a text that grows from it."""

    def __init__(
        self,
        request: GenerationRequest,
        table: Listed[bytes],
        state: State,
        stream: OutputStream,
        admitted_s: float,
        deadline_s: float | None = None,
    ) -> None:
        """Args: table: the bytes of each token."""
        super().__init__(request.inputs, state, stream, admitted_s, deadline_s)
        self.sampling = request.sampling
        self.last_token = -1
        self._stopping = request.stopping
        self._position = request.position + len(request.inputs)
        self._generated = 0
        self._uniforms = Uniforms(request.sampling.seed)
        self._table = table
        self._matcher = StopMatcher(table, request.stopping.stop) if request.stopping.stop else None

    @property
    def backlog(self) -> int:
        """Tokens generated that the reader has not taken."""
        return self._generated - self.stream.taken

    @property
    def uniform(self) -> float:
        """The random number for the next token, in [0, 1)."""
        return self._uniforms.at(self._position)

    def accept(self, token: int, report: StepReport | None, now_s: float) -> Output:
        """Append a token that was drawn, and see whether it ends the sequence."""
        if self._first_output_s is None:
            self._first_output_s = now_s
        self.last_token = token
        self._position += 1
        self._generated += 1
        stopping = self._stopping
        if self._generated > stopping.min_tokens:
            if token == stopping.end_token:
                return self._finish(token, report, FinishReason.EOS, now_s, dropped_bytes=len(self._table[token]))
            if token in stopping.stop_tokens:
                dropped = len(self._table[token])
                return self._finish(token, report, FinishReason.STOP, now_s, dropped_bytes=dropped, matched_token=token)
        held_bytes = 0
        if (matcher := self._matcher) is not None:
            matched = matcher.push(token)
            held_bytes = matcher.held_bytes
            if matched is not None and self._generated > stopping.min_tokens:
                dropped = held_bytes - len(matched.encode()) if stopping.include_stop else held_bytes
                return self._finish(
                    token, report, FinishReason.STOP, now_s, dropped_bytes=dropped, matched_stop=matched
                )
        if self._generated >= stopping.max_tokens:
            return self._finish(token, report, FinishReason.LENGTH, now_s)
        return Output(token, held_bytes, report)

    def end(self, reason: FinishReason, now_s: float) -> End:
        """End here."""
        self.ended = True
        return End(reason, self._times(now_s), self._generated, self._position)

    def _finish(
        self,
        token: int,
        report: StepReport | None,
        reason: FinishReason,
        now_s: float,
        dropped_bytes: int = 0,
        matched_stop: str | None = None,
        matched_token: int | None = None,
    ) -> Output:
        self.ended = True
        times = self._times(now_s)
        end = End(reason, times, self._generated, self._position, matched_stop, matched_token, dropped_bytes)
        return Output(token, dropped_bytes, report, end=end)
