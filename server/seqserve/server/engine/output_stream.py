"""The way from an engine to one caller: what has gathered since the caller last looked is taken in one piece.

`put` and `fail` run on the event loop; `taken` may be read from any thread. Nothing here waits for the engine, and the
engine waits for nothing here: a reader that stalls shows as a growing backlog, and the scheduler pauses its sequence.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, TypeVar

from seqserve.server.decoding.beam_search import Hypothesis
from seqserve.server.decoding.logprobs import StepReport
from seqserve.server.decoding.tagging import LabelChoices
from seqserve.server.errors import ServeError
from seqserve.server.model.state import FloatArray, State


class FinishReason(Enum):
    """Why a generation ended."""

    LENGTH = auto()
    STOP = auto()
    EOS = auto()


@dataclass(frozen=True, slots=True)
class Times:
    """Moments of one sequence on the engine's clock, in seconds."""

    admitted_s: float
    started_s: float
    first_output_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class SampleResult:
    """How a generation ended.

    dropped_bytes: bytes at the end of its text that are not part of the answer (a stop string, a stop token).
    logprob: sum of its tokens' log-probabilities in nats, if they are reported.
    """

    reason: FinishReason
    times: Times
    tokens: int
    position: int
    cached_tokens: int = 0
    matched_stop: str | None = None
    matched_token: int | None = None
    dropped_bytes: int = 0
    logprob: float = 0.0


@dataclass(frozen=True, slots=True)
class ForwardResult:
    """What the graph gave for a whole input, or for the steps that were asked about.

    arrays: its outputs in the manifest's order, (T, V) each; of a classifier, which answers at the end of each run of
    the graph, (runs, V): the last row is the answer.
    """

    arrays: tuple[FloatArray, ...]
    times: Times


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """How likely each token of an input was, but a new sequence's first, which has no probability.

    state: after all tokens of the sequence but the last, arrays (D, 1, H), if that is wanted.
    """

    reports: list[StepReport]
    times: Times
    state: State | None = None


@dataclass(frozen=True, slots=True)
class BeamResult:
    """What a beam search found, best first. position: tokens before the first one found."""

    hypotheses: list[Hypothesis]
    position: int
    times: Times


# One of each is made for each message; frozen ones would cost three times as much.
@dataclass(slots=True, eq=False)
class StreamChunk:
    """What the graph gave for some steps of a feed, in order.

    first: index of the first of them, counted from the feed's beginning. scores: (T, V). labels: in their place, if the
    feed wants them. Neither where the end of a sentence, or that a flush is answered, alone is news. provisional: the
    same steps come again, until they are final. ends_sentence: the last step so far was its sentence's last.
    """

    first: int
    scores: FloatArray | None = None
    labels: LabelChoices | None = None
    provisional: bool = False
    ends_sentence: bool = False

    def __len__(self) -> int:
        told = self.labels if self.scores is None else self.scores
        return 0 if told is None else len(told)


@dataclass(slots=True, eq=False)
class StreamOutput:
    """What one step gave a feed. rests: nothing is left to be read now, so the reader need not wait for more."""

    answers: list[StreamChunk] | list[StepReport]
    count: int  # of steps that are answered for good
    rests: bool
    shown: int = 0  # steps that are told, and not for good


@dataclass(frozen=True, slots=True)
class StreamResult:
    """How a feed ended: everything that was fed has been answered.

    steps: that were fed. state: after them, arrays (D, 1, H), if that is wanted; that of a language model trails by one
    token.
    """

    steps: int
    times: Times
    state: State | None = None


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """What one step gave one sequence.

    sample: which of the request's samples. token: None if the reader has it already, and only the end is news.
    held_bytes: bytes at the end of the sample's text so far that may not be told yet. end: set with the sample's last
    token. prompt: how likely the prompt was, with the first output, if asked.
    """

    sample: int
    token: int | None
    held_bytes: int = 0
    report: StepReport | None = None
    end: SampleResult | None = None
    prompt: list[StepReport] | None = None


@dataclass(slots=True)
class SampleOutputs:
    """One sample's outputs since the last look, in order."""

    tokens: list[int] = field(default_factory=list[int])
    reports: list[StepReport] = field(default_factory=list[StepReport])
    held_bytes: int = 0
    end: SampleResult | None = None


Result = ForwardResult | ScoreResult | BeamResult | StreamResult
ResultT = TypeVar("ResultT", bound=Result)
Item = int | TokenOutput | StreamOutput | Result | ServeError


class OutputStream:
    """The outputs of one request, for one reader."""

    def __init__(self, on_take: Callable[[], None] = lambda: None, samples: int = 1) -> None:
        """Args: on_take: called after the reader has taken something; samples: how many the request has."""
        self.taken = [0] * samples
        self.gathered = 0  # tokens that wait for the reader
        self.shown = 0  # steps that wait for it beside these, and come again
        self.result: Result | None = None
        self.prompt: list[StepReport] = []
        self.begun = False  # its first output is there
        self.woken_s = -math.inf  # when its reader was last told to look, on the event loop's clock
        self._on_take = on_take
        self._gathered: dict[int, SampleOutputs] = {}
        self._answers: list[Any] = []  # Steps, or StepReports
        self._error: ServeError | None = None
        self._due = False  # the reader was told to look at tokens
        self._reader: asyncio.Future[None] | None = None
        self._feeder: asyncio.Future[None] | None = None

    def put(self, output: Item) -> bool:
        """Add an output; the reader sees it once `wake` is called. An int is a token of sample 0 and nothing else.

        Returns: Whether the reader should not be kept waiting: for a first token, an end, a result or an error.
        """
        if isinstance(output, ServeError):
            self._error = output
            return True
        if isinstance(output, StreamOutput):
            self._answers += output.answers
            self.gathered += output.count
            self.shown += output.shown
            return output.rests
        if not isinstance(output, int | TokenOutput):
            self.result = output
            return True
        sample, token = (0, output) if isinstance(output, int) else (output.sample, output.token)
        gathered = self._gathered.get(sample)
        if gathered is None:
            gathered = self._gathered[sample] = SampleOutputs()
        if token is not None:
            gathered.tokens.append(token)
            self.gathered += 1
        first, self.begun = not self.begun, True
        if isinstance(output, int):
            return first
        gathered.held_bytes = output.held_bytes
        if output.report is not None:
            gathered.reports.append(output.report)
        if output.prompt is not None:
            self.prompt = output.prompt
        gathered.end = output.end
        return first or output.end is not None

    def wake(self) -> None:
        """Let the reader look."""
        self._due = True
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def take_result(self, kind: type[ResultT]) -> ResultT:
        """Wait for the result of a request that gives nothing before its end.

        Raises: ServeError if the sequence failed; TypeError if the result is of another kind.
        """
        await self.take()
        if not isinstance(self.result, kind):
            raise TypeError(f"a {kind.__name__} was expected, not {self.result!r}")
        return self.result

    async def take(self) -> dict[int, SampleOutputs]:
        """Wait until told to look, and take all that there is: by sample. Empty if there is a result instead.

        Raises: ServeError once the sequence failed and everything before was taken.
        """
        await self._something()
        gathered, self._gathered = self._gathered, {}
        self.gathered = 0
        self._due = False  # tokens that come while it writes gather
        for sample, outputs in gathered.items():
            self.taken[sample] += len(outputs.tokens)
        self._on_take()
        return gathered

    def take_chunks(self) -> Coroutine[None, None, list[StreamChunk]]:
        """Wait for what a feed gives, and take all of it. Empty once it has ended: then the result is its StreamResult.

        Raises: ServeError once the feed failed and everything before was taken.
        """
        return self._take_answers()

    def take_reports(self) -> Coroutine[None, None, list[StepReport]]:
        """As take_chunks, of a feed that is scored."""
        return self._take_answers()

    async def until_taken(self) -> None:
        """Wait until the reader takes something."""
        if self._feeder is None or self._feeder.done():
            self._feeder = asyncio.get_running_loop().create_future()
        await self._feeder

    async def _take_answers(self) -> list[Any]:
        if not self._answers:
            await self._something()
        answers, self._answers = self._answers, []
        self.taken[0] += self.gathered
        self.gathered = self.shown = 0
        if self._feeder is not None:
            if not self._feeder.done():
                self._feeder.set_result(None)
            self._feeder = None
        return answers

    async def _something(self) -> None:
        """Wait until there is something to take, tokens once they are due. Raises: the error, if nothing else is."""
        while not ((self._due and self._gathered) or self._answers or self.result or self._error):
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if self._error is not None and not (self._gathered or self._answers):
            raise self._error
