"""The outputs of one request on their way to its reader, who takes all that has gathered at once.

`put` and `wake` run on the event loop; `taken` may be read from any thread. Neither side waits for the other: the
backlog of a reader that stalls grows, and the scheduler pauses its sequence.

Axes: T steps, V vocabulary or labels.
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
    """Moments of one sequence on the engine's clock, in seconds.

    Attributes:
        admitted_s: When the request was admitted.
        started_s: When its first step began.
        first_output_s: When its first output was ready.
        ended_s: When it ended.
    """

    admitted_s: float
    started_s: float
    first_output_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class SampleResult:
    """How one sample of a generation ended.

    Attributes:
        reason: Why it ended.
        times: When it began and ended.
        tokens: Number of generated tokens, received ones included.
        position: Number of tokens in the sequence.
        cached_tokens: Number of prompt tokens that were not consumed again.
        matched_stop: The stop string that ended it; None: another reason.
        matched_token: The stop token that ended it; None: another reason.
        dropped_bytes: Bytes at the end of its text that are not part of the answer: a stop string, a stop token.
        logprob: Sum of its tokens' log-probabilities in nats, if they are reported.
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
    """What the graph gave for a whole input, or for the requested steps of it.

    Attributes:
        arrays: The graph's outputs in the manifest's order, (T, V) each. A classifier answers at the end of each run of
            the graph: (runs, V), of which the last row is the answer.
        times: When the request began and ended.
    """

    arrays: tuple[FloatArray, ...]
    times: Times


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """The log-probability of each token of an input.

    Attributes:
        reports: One a token, except a new sequence's first token, which has no probability.
        times: When the request began and ended.
        state: The state after all tokens of the sequence but the last, arrays (D, 1, H); None if it was not requested.
    """

    reports: list[StepReport]
    times: Times
    state: State | None = None


@dataclass(frozen=True, slots=True)
class BeamResult:
    """The result of a beam search.

    Attributes:
        hypotheses: The texts, best first.
        position: Number of tokens in the sequence before the first generated one.
        times: When the request began and ended.
    """

    hypotheses: list[Hypothesis]
    position: int
    times: Times


@dataclass(frozen=True, slots=True)
class StreamResult:
    """How a stream ended: all pushed steps have been answered.

    Attributes:
        steps: Number of steps that were pushed.
        times: When the stream began and ended.
        state: The state after these steps, arrays (D, 1, H); None if it was not requested. The state of a language
            model trails by one token.
    """

    steps: int
    times: Times
    state: State | None = None


# One of each of the next two is made for each message; frozen dataclasses would cost three times as much.
@dataclass(slots=True, eq=False)
class StreamChunk:
    """What the graph gave for consecutive steps of a stream.

    Without scores and labels it only says that a sentence ended, or that a flush is answered.

    Attributes:
        first: Index of its first step, counted from the beginning of the stream.
        scores: float32 (T, V); None: labels in their place, or nothing.
        labels: The steps' labels, if the stream requested them.
        provisional: Whether the same steps come again until they are final.
        ends_sentence: Whether the last step so far was the last one of its sentence.
    """

    first: int
    scores: FloatArray | None = None
    labels: LabelChoices | None = None
    provisional: bool = False
    ends_sentence: bool = False

    def __len__(self) -> int:
        steps = self.labels if self.scores is None else self.scores
        return 0 if steps is None else len(steps)


@dataclass(slots=True, eq=False)
class StreamOutput:
    """What one step gave a stream.

    Attributes:
        items: Its chunks, or its reports.
        count: Number of steps that are answered for good.
        rests: Whether nothing is left to consume now, so that the reader need not wait for more.
        shown: Number of steps that are shown and come again.
    """

    items: list[StreamChunk] | list[StepReport]
    count: int
    rests: bool
    shown: int = 0


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """What one step gave one sample.

    Attributes:
        sample: Which of the request's samples it is.
        token: The token; None if the reader has it already and only the result is new.
        held_bytes: Bytes at the end of the sample's text so far that may not be released yet.
        report: The token's log-probability, if requested.
        end: The sample's result, with its last token.
        prompt: The log-probabilities of the prompt, with the first output, if requested.
    """

    sample: int
    token: int | None
    held_bytes: int = 0
    report: StepReport | None = None
    end: SampleResult | None = None
    prompt: list[StepReport] | None = None


@dataclass(slots=True)
class SampleOutputs:
    """The outputs of one sample since the reader last took some, in order.

    Attributes:
        tokens: The tokens.
        reports: Their log-probabilities, if requested.
        held_bytes: Bytes at the end of the sample's text so far that may not be released yet.
        end: The sample's result, if it has ended.
    """

    tokens: list[int] = field(default_factory=list[int])
    reports: list[StepReport] = field(default_factory=list[StepReport])
    held_bytes: int = 0
    end: SampleResult | None = None


Result = ForwardResult | ScoreResult | BeamResult | StreamResult
ResultT = TypeVar("ResultT", bound=Result)
Item = int | TokenOutput | StreamOutput | Result | ServeError


class OutputStream:
    """The outputs of one request, for one reader.

    Attributes:
        taken: Number of tokens of each sample, or of steps of a stream, that the reader has taken.
        gathered: Number of tokens, or answered steps, that wait for the reader.
        shown: Number of provisional steps that wait for the reader besides these.
        result: The request's result, once it is there.
        prompt: The log-probabilities of the prompt, once they are there.
        begun: Whether its first output is there.
        woken_s: When its reader was last woken, on the event loop's clock.
    """

    def __init__(self, on_take: Callable[[], None] = lambda: None, samples: int = 1) -> None:
        """Makes an empty stream.

        Args:
            on_take: Called after the reader has taken something.
            samples: Number of the request's samples.
        """
        self.taken = [0] * samples
        self.gathered = 0
        self.shown = 0
        self.result: Result | None = None
        self.prompt: list[StepReport] = []
        self.begun = False
        self.woken_s = -math.inf
        self._on_take = on_take
        self._gathered: dict[int, SampleOutputs] = {}
        self._items: list[Any] = []  # StreamChunks, or StepReports
        self._error: ServeError | None = None
        self._due = False  # the reader was woken for tokens
        self._reader: asyncio.Future[None] | None = None
        self._pusher: asyncio.Future[None] | None = None

    def put(self, output: Item) -> bool:
        """Adds an output, which the reader sees once `wake` is called. An int is a token of sample 0 and nothing else.

        Returns:
            Whether the reader should be woken at once: for a first token, an end, a result or an error.
        """
        if isinstance(output, ServeError):
            self._error = output
            return True
        if isinstance(output, StreamOutput):
            self._items += output.items
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
        """Wakes the reader."""
        self._due = True
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def take_result(self, kind: type[ResultT]) -> ResultT:
        """Waits for the result of a request that gives nothing before its end.

        Args:
            kind: The expected kind of result.

        Raises:
            ServeError: The sequence failed.
            TypeError: The result is of another kind.
        """
        await self.take()
        if not isinstance(self.result, kind):
            raise TypeError(f"result must be a {kind.__name__}, got {self.result!r}")
        return self.result

    async def take(self) -> dict[int, SampleOutputs]:
        """Waits until woken, and takes all outputs that have gathered.

        Returns:
            The outputs by sample. Empty if there is a result instead.

        Raises:
            ServeError: The sequence failed, and everything before was taken.
        """
        await self._wait()
        gathered, self._gathered = self._gathered, {}
        self.gathered = 0
        self._due = False  # tokens that come while it writes gather
        for sample, outputs in gathered.items():
            self.taken[sample] += len(outputs.tokens)
        self._on_take()
        return gathered

    def take_chunks(self) -> Coroutine[None, None, list[StreamChunk]]:
        """Waits for chunks of a stream, and takes all of them.

        Returns:
            The chunks. Empty once the stream has ended: then there is a StreamResult.

        Raises:
            ServeError: The stream failed, and everything before was taken.
        """
        return self._take_items()

    def take_reports(self) -> Coroutine[None, None, list[StepReport]]:
        """As take_chunks, for a stream that is scored."""
        return self._take_items()

    async def until_taken(self) -> None:
        """Waits until the reader takes something."""
        if self._pusher is None or self._pusher.done():
            self._pusher = asyncio.get_running_loop().create_future()
        await self._pusher

    async def _take_items(self) -> list[Any]:
        if not self._items:
            await self._wait()
        items, self._items = self._items, []
        self.taken[0] += self.gathered
        self.gathered = self.shown = 0
        if self._pusher is not None:
            if not self._pusher.done():
                self._pusher.set_result(None)
            self._pusher = None
        return items

    async def _wait(self) -> None:
        """Waits until there is something to take; tokens count once they are due.

        Raises:
            ServeError: The sequence failed, and there is nothing else to take.
        """
        while not ((self._due and self._gathered) or self._items or self.result or self._error):
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if self._error is not None and not (self._gathered or self._items):
            raise self._error


StepOutputs = list[tuple[OutputStream, Item]]
"""What one step gave: an output for each sequence that has one."""
