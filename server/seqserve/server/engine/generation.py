"""Generations in progress: a prompt to be read, and texts that grow from it."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import replace
from typing import Self

import numpy as np
import numpy.typing as npt

from seqserve.server.decoding.beam_search import BeamSearch
from seqserve.server.decoding.logprobs import StepReport, reports
from seqserve.server.decoding.randomness import Uniforms
from seqserve.server.decoding.sampling import History, IdArray
from seqserve.server.engine.output_stream import BeamResult, FinishReason, OutputStream, SampleResult, TokenOutput
from seqserve.server.engine.requests import Admission, GenerationRequest, with_pending
from seqserve.server.engine.sequence import InputScorer, PrefillSequence
from seqserve.server.model.inputs import IntArray, token_inputs
from seqserve.server.model.state import FloatArray, State
from seqserve.server.text.detokenization import StopMatcher
from seqserve.v1 import manifest_pb2 as pb


class GenerationSequence(PrefillSequence):
    """One sample: first it reads the prompt, then it grows. Further samples are forked from the first."""

    def __init__(
        self,
        request: GenerationRequest,
        table: Listed[bytes],
        state: State,
        stream: OutputStream,
        admission: Admission,
        admitted_s: float,
    ) -> None:
        """Args: table: the bytes of each token."""
        known = with_pending(request.start, request.inputs)
        super().__init__(known, state, stream, admission, admitted_s)
        self.request = request
        self.sample = 0
        self.family: list[GenerationSequence] = [self]
        self.beams: BeamSearch | None = None
        self.parents: list[int] = []  # of a search's beams: which beam each goes on from
        self.prefix_keys: list[bytes] = []
        self.last_token = -1
        self.generated = 0
        self.cached = 0
        prompt: IntArray = request.inputs.arrays[pb.TENSOR_ROLE_TOKENS].astype(np.int32)
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
            stream.taken = [len(received.tokens) for received in request.received]
        if request.beams is not None:
            stopping = request.stopping
            self.beams = BeamSearch(request.beams.width, stopping.max_tokens, self._ends, request.beams.length_penalty)
            self.rows_needed = request.beams.width

    @property
    def members(self) -> list[GenerationSequence]:
        """It and its forks, by sample."""
        return self.family

    @property
    def recalls(self) -> bool:
        """Whether its next token is one that the caller has received already."""
        return self.generated < len(self._received)

    @property
    def position(self) -> int:
        """Tokens in the sequence so far."""
        return self._start + self.generated

    @property
    def backlog(self) -> int:
        """Tokens generated that the reader has not taken; a beam search tells nothing before its end."""
        return 0 if self.beams is not None else self.generated - self.stream.taken[self.sample]

    def next_uniforms(self, steps: int) -> npt.NDArray[np.float64]:
        """The random number of each of the next steps, float64 (steps,), 0 where the next token is known."""
        known = max(0, min(self.remaining - 1, steps))
        drawn = self.uniforms.run(self.position, steps - known)
        return drawn if not known else np.concatenate([np.zeros(known), drawn])

    @property
    def barred(self) -> IdArray | None:
        """Tokens that may not come next: what ends the text, before its least length. None: no such token."""
        return self._barred if self.generated < self.request.stopping.min_tokens and len(self._barred) else None

    def skip(self, count: int, state: State) -> None:
        """Begin after the first inputs: the state there was known."""
        self.consumed = self.cached = count
        self.state = state

    def fork(self, sample: int) -> Self:
        """Another sample from the same prompt. Its state is the same arrays: whoever steps it copies them."""
        twin: Self = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.sample = sample
        if self.request.received:
            twin._received = self.request.received[sample].tokens
        twin.history = self.history.copy()
        twin.uniforms = Uniforms(self.request.sampling.seed, sample)
        if self._matcher is not None:
            twin._matcher = StopMatcher(self._table, self.request.stopping.stop)
        self.family.append(twin)
        return twin

    def read(self, outputs: Listed[FloatArray]) -> None:
        """Report a piece of the prompt, if that was asked for."""
        if self._prompt is not None and not self.generated:
            self._prompt.read(outputs[0])

    def recall(self, logits_TV: FloatArray, now_s: float) -> TokenOutput | None:
        """Append tokens that the caller has received already: the ones after each of the steps that were just read.

        Once its first is there, all of them but the last are known inputs; the last is fed in the decoding batch.
        Returns: The end of the text, if they complete it; else nothing is to be told.
        """
        begins, output = self.generated == 0, None
        for logits_V in logits_TV:
            output = self.accept(self._received[self.generated], logits_V, now_s)
        if isinstance(output, TokenOutput) and output.end is not None:
            return replace(output, token=None, report=None)
        if begins:
            self._inputs, self.consumed, self.prefix_keys = token_inputs(self._received[:-1]), 0, []
            self._length = len(self._inputs)
        return None

    def accept(self, token: int, logits_V: FloatArray, now_s: float) -> int | TokenOutput:
        """Append a token that was drawn, and see whether it ends the text.

        Returns: The token alone where there is nothing else to tell: most sequences, most steps.
        """
        self.last_token = token
        self.generated += 1
        request, stopping = self.request, self.request.stopping
        if self._plain and 1 < self.generated < stopping.max_tokens and token not in self._ends:
            return token
        self.first_output(now_s)
        self.history.add(token)
        report: StepReport | None = None
        if request.sampling.logprobs is not None:
            report = reports(logits_V[None], [token], request.sampling.logprobs)[0]
            self._logprob += report.chosen.logprob
        prompt = None
        if self._prompt is not None and self.generated <= len(self._received) + 1:
            prompt = self._prompt.reports
        if token in self._ends:
            reason = FinishReason.EOS if token == stopping.end_token else FinishReason.STOP
            matched = token if reason is FinishReason.STOP else None
            held = len(self._table[token])
            return self._last(token, reason, now_s, held, held, report, prompt, matched_token=matched)
        held = 0
        if self._matcher is not None:
            stop = self._matcher.push(token)
            held = self._matcher.held_bytes
            if stop is not None and self.generated > stopping.min_tokens:
                dropped = held - len(stop.encode()) if stopping.include_stop else held
                return self._last(token, FinishReason.STOP, now_s, held, dropped, report, prompt, matched_stop=stop)
        if self.generated >= stopping.max_tokens:
            return self._last(token, FinishReason.LENGTH, now_s, held, 0, report, prompt)
        return TokenOutput(self.sample, token, held, report, prompt=prompt)

    def search_result(self, search: BeamSearch, now_s: float) -> BeamResult:
        """What its beam search found."""
        self.first_output(now_s)
        return BeamResult(search.results(self.request.samples), self._start, self.times(now_s))

    def _last(
        self,
        token: int,
        reason: FinishReason,
        now_s: float,
        held: int,
        dropped: int,
        report: StepReport | None,
        prompt: list[StepReport] | None,
        matched_stop: str | None = None,
        matched_token: int | None = None,
    ) -> TokenOutput:
        self.ended = True
        end = SampleResult(
            reason,
            self.times(now_s),
            self.generated,
            self.position,
            self.cached,
            matched_stop,
            matched_token,
            dropped,
            self._logprob,
        )
        return TokenOutput(self.sample, token, held, report, end, prompt)
