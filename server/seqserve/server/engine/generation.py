"""Generations in progress: a prompt to consume, and samples that continue it.

A generation carries its state one token behind its text: the last token is consumed first in the next step. So it can
stop anywhere, fork, and be resumed later without an extra step.

Axes: B sequences, R beams of a search, T steps, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from seqserve.server.decoding.beam_search import BeamSearch
from seqserve.server.decoding.logprobs import StepReport, log_softmax, reports, unusable_rows
from seqserve.server.decoding.randomness import Uniforms
from seqserve.server.decoding.sampling import DoubleArray, History, IdArray, Sampler, SamplingSpec
from seqserve.server.engine.generation_spec import BeamSpec, OutputSpec, Received, StoppingSpec
from seqserve.server.engine.output_stream import BeamResult, FinishReason, SampleResult, StepOutputs, TokenOutput
from seqserve.server.engine.prefix_cache import PrefixCache
from seqserve.server.engine.scoring import InputScorer
from seqserve.server.engine.sequence import (
    PrefillHost,
    PrefillSequence,
    SequenceContext,
    UnusableScoresError,
    check_scores,
    with_pending,
)
from seqserve.server.model.inputs import Inputs, IntArray, token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray
from seqserve.server.text.stop_matching import StopMatcher

_NEW = SequenceState.new()
_ALL_OUTPUTS = OutputSpec()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Generates text.

    Attributes:
        inputs: The prompt; at least one step, unless the sequence is continued.
        sampling: How tokens are drawn.
        stopping: When the text ends.
        samples: Number of texts from the prompt.
        beams: A beam search in place of sampling; None: sampling.
        prompt_logprobs: How many of the most likely tokens to report at each step of the prompt; None: no report.
        start: Where the sequence begins.
        received: What the caller already has, one a sample, to resume a generation; empty: a new generation.
        keeps_state: Whether the final state is wanted.
        outputs: What the caller wants of the result.
    """

    inputs: Inputs
    sampling: SamplingSpec
    stopping: StoppingSpec
    samples: int = 1
    beams: BeamSpec | None = None
    prompt_logprobs: int | None = None
    start: SequenceState = _NEW
    received: tuple[Received, ...] = ()
    keeps_state: bool = False
    outputs: OutputSpec = _ALL_OUTPUTS

    @property
    def position(self) -> int:
        """Position of the first generated token: number of tokens in the sequence before it."""
        return self.start.position + len(self.inputs)

    def check(self, rows_max: int, vocabulary: int) -> None:
        """Checks the request against the batch and the model.

        Args:
            rows_max: Maximum number of sequences in a batch.
            vocabulary: Number of tokens.

        Raises:
            InvalidFieldError: More beams than there are rows in a batch, or tokens to begin with; or no token may come
                before the minimum length.
        """
        if self.beams is not None:
            self.beams.check(self.stopping, rows_max, vocabulary)
        self.stopping.check(self.sampling, vocabulary)

    def sequence(self, context: SequenceContext, servable: Servable, table: Listed[bytes]) -> GenerationSequence:
        """Makes the sequence of sample 0; the further ones are forked from it after the prompt.

        Args:
            context: What the engine gives it.
            servable: The model.
            table: The bytes of each token.
        """
        del servable
        return GenerationSequence(context, self, table)


class GenerationSequence(PrefillSequence):
    """One sample: first it consumes the prompt, then it generates.

    Attributes:
        request: What to generate.
        sample: Which of the request's samples it is.
        family: All samples, or beams, of the request.
        beams: The beam search, which all beams share.
        parents: Sample 0 of a search: which beam each beam continues.
        prefix_keys: Keys of the prompt's prefixes in the cache.
        last_token: The token that is consumed next.
        generated: Number of tokens generated so far, received ones included.
        cached: Number of prompt tokens that were not consumed again.
        unusable: Whether the outputs for its prompt are not finite, and it has to fail.
    """

    block_aligned = True

    def __init__(self, context: SequenceContext, request: GenerationRequest, table: Listed[bytes]) -> None:
        known = with_pending(request.start, request.inputs)
        super().__init__(context, known)
        self.request = request
        self.sample = 0
        self.family: list[GenerationSequence] = [self]
        self.beams: BeamSearch | None = None
        self.parents: list[int] = []
        self.prefix_keys: list[bytes] = []
        self.last_token = -1
        self.generated = 0
        self.cached = 0
        self.unusable = False
        prompt: IntArray = request.inputs.tokens
        self.history = History(request.sampling, len(table), prompt, request.start.counts)
        self.uniforms = Uniforms(request.sampling.seed)
        self._start = request.position
        self._table = table
        self._received: tuple[int, ...] = ()
        self._logprob = 0.0
        stops = request.stopping.stop
        self._matcher = StopMatcher(table, stops) if stops else None
        self._ends = request.stopping.ends
        self._barred: IdArray = np.array(sorted(self._ends), np.intp)
        self._prompt: InputScorer | None = None
        self._plain = not (stops or request.sampling.penalises) and request.sampling.logprobs is None
        self._plain &= request.samples == 1 and request.prompt_logprobs is None
        if request.prompt_logprobs is not None:
            self._prompt = InputScorer(known, len(known) - len(request.inputs), request.prompt_logprobs)
        if request.received:
            self._received = request.received[0].tokens
            self.stream.taken = [len(received.tokens) for received in request.received]
        if request.beams is not None:
            stopping = request.stopping
            self.beams = BeamSearch(request.beams.width, stopping.max_tokens, self._ends, request.beams.length_penalty)
            self.rows_needed = request.beams.width

    @property
    def members(self) -> list[GenerationSequence]:
        """The sequence and its forks, by sample."""
        return self.family

    @property
    def replays(self) -> bool:
        """Whether its next token is one that the caller has received already."""
        return self.generated < len(self._received)

    @property
    def position(self) -> int:
        """Number of tokens in the sequence so far."""
        return self._start + self.generated

    @property
    def backlog(self) -> int:
        """Number of generated tokens that the reader has not taken; 0 for a beam search, which has only a result."""
        return 0 if self.beams is not None else self.generated - self.stream.taken[self.sample]

    def next_uniforms(self, steps: int) -> npt.NDArray[np.float64]:
        """Returns the random number of each of the next steps, float64 (steps,); 0 where the next token is known."""
        known = max(0, min(self.remaining - 1, steps))
        drawn = self.uniforms.run(self.position, steps - known)
        return drawn if not known else np.concatenate([np.zeros(known), drawn])

    @property
    def barred(self) -> IdArray | None:
        """Tokens that may not come next: those that end the text, before its minimum length. None: no such token."""
        return self._barred if self.generated < self.request.stopping.min_tokens and len(self._barred) else None

    def can_decode(self, inline_max: int) -> bool:
        """Whether it can join the decode batch now, with at most ``inline_max`` known tokens left to consume there.

        A prompt that forks, or whose caller has received tokens already, is consumed by prefill runs: the received
        tokens are appended to the text, not only consumed.
        """
        request = self.request
        alone = request.samples == 1 and request.beams is None and not request.received
        return not self.remaining or (alone and self.remaining <= inline_max)

    def skip_cached_prefix(self, prefixes: PrefixCache) -> None:
        """Skips the tokens whose state is in the cache, if the prompt begins the sequence and is not reported."""
        if self.request.start.last_token is not None or self.request.prompt_logprobs is not None:
            return
        self.prefix_keys = prefixes.keys(self.request.inputs.tokens)
        length, state = prefixes.find(self.prefix_keys, self.remaining)
        if length:
            self.consumed = self.cached = length
            self.state = state

    def fork(self, sample: int) -> Self:
        """Makes another sample of the same prompt. Its state is the same arrays: whoever steps it copies them."""
        twin: Self = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.sample = sample
        if self.request.received:
            twin._received = self.request.received[sample].tokens
        twin.history = self.history.copy()
        twin.uniforms = Uniforms(self.request.sampling.seed, sample)
        if self._matcher is not None:
            twin._matcher = self._matcher.for_new_text()
        self.family.append(twin)
        return twin

    def make_forks(self) -> list[GenerationSequence]:
        """Makes the request's further samples."""
        return [self.fork(sample) for sample in range(1, self.request.samples)]

    def record(self, outputs: Listed[FloatArray]) -> None:
        """Reports a piece of the prompt, if that was requested."""
        if self._prompt is None or self.generated or self.unusable:
            return
        if len(unusable_rows(outputs[0])):
            self.unusable = True
        else:
            self._prompt.record(outputs[0])

    def prefilled(self, outputs: Listed[FloatArray], host: PrefillHost) -> StepOutputs:
        """Continues after a prefill run: with the rest of the prompt, with received tokens, or with first tokens."""
        if self.generated:
            return self.replay(outputs[0], host.now_s())
        self.record(outputs)
        if self.unusable:
            raise UnusableScoresError
        host.prefixes.keep(self.prefix_keys, self.consumed, self.state)
        return [] if self.remaining else self._begin(outputs[0][-1:], host)

    def _begin(self, logits_1V: FloatArray, host: PrefillHost) -> StepOutputs:
        """Appends the first token of each sample, drawn or received before, or the first beams."""
        if self.beams is not None:
            while len(self.family) < self.beams.width:
                self.fork(len(self.family))
            return advance_search(self.beams, self.family, logits_1V, host.now_s())
        host.fork(self)
        outputs: StepOutputs = []
        for member in self.family:
            if member.replays:
                outputs += member.replay(logits_1V, host.now_s())
        drawing = [member for member in self.family if not member.generated]
        if not drawing:
            return outputs
        logits_BV = np.repeat(logits_1V, len(drawing), axis=0)
        barred = barred_rows(list(enumerate(drawing)))
        tokens_B = sampler_of(drawing).draw(logits_BV, uniforms(drawing, 1)[:, 0], barred)
        if tokens_B.min() < 0:
            raise UnusableScoresError
        first = accept_tokens(drawing, tokens_B.tolist(), logits_BV, host.now_s())
        host.stats.generated_tokens += len(first)
        return outputs + first

    def replay(self, logits_TV: FloatArray, now_s: float) -> StepOutputs:
        """Appends tokens that the caller has received already: those after each of the steps just taken.

        Once the first one is appended, all others but the last are known inputs; the last one is consumed in the decode
        batch.

        Returns:
            The end of the text, if the tokens complete it; else nothing, because the caller has the tokens.

        Raises:
            UnusableScoresError: The logits are not finite.
        """
        check_scores(logits_TV)
        begins, output = self.generated == 0, None
        for logits_V in logits_TV:
            output = self.accept(self._received[self.generated], logits_V, now_s)
        if isinstance(output, TokenOutput) and output.end is not None:
            return [(self.stream, replace(output, token=None, report=None))]
        if begins:
            self._inputs, self.consumed, self.prefix_keys = token_inputs(self._received[:-1]), 0, []
            self._length = len(self._inputs)
        return []

    def accept(self, token: int, logits_V: FloatArray, now_s: float) -> int | TokenOutput:
        """Appends a token and checks whether it ends the text.

        Returns:
            The token alone where there is nothing else to publish: most sequences, most steps.
        """
        self.last_token = token
        self.generated += 1
        request, stopping = self.request, self.request.stopping
        if self._plain and 1 < self.generated < stopping.max_tokens and token not in self._ends:
            return token
        self.mark_first_output(now_s)
        self.history.add(token)
        report: StepReport | None = None
        if request.sampling.logprobs is not None:
            report = reports(logits_V[None], [token], request.sampling.logprobs)[0]
            self._logprob += report.chosen.logprob
        prompt = None
        if self._prompt is not None and self.generated <= len(self._received) + 1:
            prompt = self._prompt.reports
        held, end = 0, None
        if token in self._ends:
            held = len(self._table[token])
            if token == stopping.end_token:
                end = self._finish(FinishReason.EOS, now_s, held)
            else:
                end = self._finish(FinishReason.STOP, now_s, held, token=token)
        elif self._matcher is not None:
            stop = self._matcher.push(token)
            held = self._matcher.held_bytes
            if stop is not None and self.generated > stopping.min_tokens:
                dropped = held - len(stop.encode()) if stopping.include_stop else held
                end = self._finish(FinishReason.STOP, now_s, dropped, stop)
        if end is None and self.generated >= stopping.max_tokens:
            end = self._finish(FinishReason.LENGTH, now_s)
        return TokenOutput(self.sample, token, held, report, end, prompt)

    def search_result(self, search: BeamSearch, now_s: float) -> BeamResult:
        """Returns the result of its beam search."""
        self.mark_first_output(now_s)
        return BeamResult(search.results(self.request.samples), self._start, self.times(now_s))

    def _finish(
        self, reason: FinishReason, now_s: float, dropped: int = 0, stop: str | None = None, token: int | None = None
    ) -> SampleResult:
        """Ends the text with its last token, and returns its result."""
        self.ended = True
        counts = self.generated, self.position, self.cached
        return SampleResult(reason, self.times(now_s), *counts, stop, token, dropped, self._logprob)


def accept_tokens(
    sequences: Listed[GenerationSequence], tokens: Listed[int], logits_BV: FloatArray, now_s: float
) -> StepOutputs:
    """Appends a token to each sequence that has not ended and has consumed its prompt.

    Args:
        sequences: B sequences.
        tokens: The token of each.
        logits_BV: The logits that the tokens were drawn from.
        now_s: The time on the engine's clock.

    Returns:
        What each of these sequences publishes.
    """
    return [
        (sequence.stream, sequence.accept(token, logits, now_s))
        for sequence, token, logits in zip(sequences, tokens, logits_BV, strict=True)
        if not (sequence.ended or sequence.remaining)  # cancelled or failed; still consuming its prompt
    ]


def advance_search(
    search: BeamSearch, family: list[GenerationSequence], logits_RV: FloatArray, now_s: float
) -> StepOutputs:
    """Takes one step of a beam search: chooses which beams continue, from which rows.

    Args:
        search: The search.
        family: Its beams.
        logits_RV: The logits after each beam.
        now_s: The time on the engine's clock.

    Returns:
        The result of the search, if it has ended.

    Raises:
        UnusableScoresError: The logits of a beam are not finite.
    """
    check_scores(logits_RV)
    first = family[0]
    choice = search.advance(log_softmax(logits_RV))
    if choice is None:
        for member in family:
            member.ended = True
        return [(first.stream, first.search_result(search, now_s))]
    first.parents = choice.parents
    for member, token in zip(family, choice.tokens, strict=True):
        member.last_token = token
        member.generated += 1
    return []


def sampler_of(sequences: list[GenerationSequence]) -> Sampler:
    """Makes a sampler that draws the sequences' next tokens, one a row."""
    return Sampler([sequence.request.sampling for sequence in sequences], [sequence.history for sequence in sequences])


def uniforms(sequences: list[GenerationSequence], steps: int) -> DoubleArray:
    """Returns the random numbers of each sequence's next steps: float64 (B, steps)."""
    return np.array([sequence.next_uniforms(steps) for sequence in sequences])


def barred_rows(rows: list[tuple[int, GenerationSequence]]) -> list[tuple[int, IdArray]]:
    """Returns the rows in which some tokens may not come next, and these tokens."""
    return [(row, tokens) for row, sequence in rows if (tokens := sequence.barred) is not None]
