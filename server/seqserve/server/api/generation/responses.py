"""Builds the responses of Generate and Score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seqserve.server.api.fields import servable_id, timing
from seqserve.server.decoding.logprobs import Candidate, StepReport, perplexity
from seqserve.server.engine.output_stream import (
    BeamResult,
    FinishReason,
    SampleOutputs,
    SampleResult,
    ScoreResult,
    Times,
)
from seqserve.server.engine.requests import GenerationRequest, ScoringRequest
from seqserve.server.model.inputs import IntArray
from seqserve.server.model.sequence_state import FinalState
from seqserve.server.model.state import State
from seqserve.server.repository import Model
from seqserve.server.text.detokenization import IncrementalDetokenizer, incomplete_suffix_after
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import state_pb2

_REASONS = {
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.EOS: pb.FINISH_REASON_EOS,
}


def started(request: GenerationRequest, model: Model, prompt: list[StepReport]) -> pb.GenerateResponse:
    """Returns the first event."""
    return pb.GenerateResponse(
        started=pb.GenerationStarted(
            servable=servable_id(model.servable.id),
            seed=request.sampling.seed,
            prompt_tokens=len(request.inputs),
            position=request.position,
            prompt_logprobs=[step_logprobs(report, model.table) for report in prompt],
        )
    )


class Answer:
    """Converts the outputs of samples to pieces, and their ends to the last event."""

    def __init__(self, request: GenerationRequest, table: Sequence[bytes]) -> None:
        """Begins before the first output.

        Args:
            request: The request.
            table: The bytes of each token.
        """
        self._request = request
        self._table = table
        self._with_ids = request.outputs.token_ids
        self._with_logprobs = request.outputs.logprobs
        begun = _undecoded(request, table)
        self._texts = [IncrementalDetokenizer(table, begun) for _ in range(request.samples)]
        self._tokens: list[list[int]] = [[] for _ in range(request.samples)]  # if the final state is wanted
        self._positions = [request.position] * request.samples
        self.ends: dict[int, SampleResult] = {}
        for sample, received in enumerate(request.received):
            self._texts[sample].push(received.tokens, received.held_bytes)  # told already
            self._tokens[sample] += received.tokens
            self._positions[sample] += len(received.tokens)

    @property
    def done(self) -> bool:
        """Returns whether every sample has ended."""
        return len(self.ends) == self._request.samples

    def piece(self, sample: int, gathered: SampleOutputs) -> pb.GenerateResponse | None:
        """Returns the new tokens of a sample and the text that may be released. None: only its end is new."""
        keeps = self._request.keeps_state
        text = self._texts[sample].push(gathered.tokens, gathered.held_bytes)
        if gathered.end is not None:
            text += self._texts[sample].finish(gathered.end.dropped_bytes, continues=keeps)
            self.ends[sample] = gathered.end
        if not gathered.tokens:
            return None
        if keeps:
            self._tokens[sample] += gathered.tokens
        position = self._positions[sample]
        self._positions[sample] += len(gathered.tokens)
        response = pb.GenerateResponse()
        piece = response.piece
        piece.sample, piece.text, piece.position = sample, text, position
        if self._with_ids:
            piece.token_ids.extend(gathered.tokens)
        if self._with_logprobs:
            for report in gathered.reports:
                fill_step_logprobs(piece.logprobs.add(), report, self._table)
        return response

    def best(self, count: int) -> list[int]:
        """Returns the samples with the highest mean log-probability, best first."""
        means = [self.ends[sample].logprob / self.ends[sample].tokens for sample in range(self._request.samples)]
        return sorted(range(self._request.samples), key=lambda sample: (-means[sample], sample))[:count]

    def final_state(self, sample: int, state: State) -> FinalState:
        """Returns the final state of a sample. Args: state: The recurrent state after it."""
        request, tokens = self._request, np.array(self._tokens[sample], np.int32)
        return FinalState(
            state,
            self.ends[sample].position,
            int(tokens[-1]),
            _tokens(request),
            tokens,
            self._texts[sample].undecoded,
            request.sampling.seed,
        )

    def finished(self, samples: list[int], result: state_pb2.StateResult) -> pb.GenerateResponse:
        """Returns the last event, with the samples numbered in the order given. Args: result: Where the state is."""
        ends = [self.ends[sample] for sample in samples]
        finished = [
            pb.SampleFinished(
                sample=number,
                reason=_REASONS[self.ends[sample].reason],
                matched_stop=self.ends[sample].matched_stop or "",
                matched_token=self.ends[sample].matched_token,
                tokens=self.ends[sample].tokens,
                logprob=self.ends[sample].logprob if self._request.sampling.logprobs is not None else None,
            )
            for number, sample in enumerate(samples)
        ]
        last = max((end.times for end in ends), key=lambda times: times.ended_s)
        return _finished(self._request, finished, last, result, cached=ends[0].cached_tokens)


def search_events(request: GenerationRequest, model: Model, search: BeamResult) -> list[pb.GenerateResponse]:
    """Returns the events of a beam search: a piece for each text, and the last event."""
    events: list[pb.GenerateResponse] = []
    finished: list[pb.SampleFinished] = []
    for number, hypothesis in enumerate(search.hypotheses):
        ended = hypothesis.end_token is not None
        text = IncrementalDetokenizer(model.table)
        words = text.push(hypothesis.tokens[:-1] if ended else hypothesis.tokens) + text.finish()
        piece = pb.GenerationPiece(sample=number, text=words, position=search.position)
        if request.outputs.token_ids:
            piece.token_ids.extend(hypothesis.tokens)
        events.append(pb.GenerateResponse(piece=piece))
        reason = FinishReason.EOS if hypothesis.end_token == request.stopping.end_token else FinishReason.STOP
        finished.append(
            pb.SampleFinished(
                sample=number,
                reason=_REASONS[reason if ended else FinishReason.LENGTH],
                matched_token=hypothesis.end_token if reason is FinishReason.STOP else None,
                tokens=len(hypothesis.tokens),
                logprob=hypothesis.logprob,
            )
        )
    result = state_pb2.StateResult(position=search.position + finished[0].tokens)
    return [*events, _finished(request, finished, search.times, result, cached=0)]


def _finished(
    request: GenerationRequest,
    finished: list[pb.SampleFinished],
    times: Times,
    result: state_pb2.StateResult,
    *,
    cached: int,
) -> pb.GenerateResponse:
    return pb.GenerateResponse(
        finished=pb.GenerationFinished(
            samples=finished,
            prompt_tokens=len(request.inputs),
            generated_tokens=sum(sample.tokens for sample in finished),
            cached_tokens=cached,
            timing=timing(times),
            state=result,
        )
    )


def scoring_final_state(request: ScoringRequest, table: Sequence[bytes], state: State | None) -> FinalState:
    """Returns the final state of a scored text. Args: state: The recurrent state, or None if it is not needed."""
    tokens = _tokens(request)
    position = request.start.position + len(tokens)
    return FinalState(state, position, int(tokens[-1]), tokens, undecoded=_undecoded(request, table))


def _undecoded(request: GenerationRequest | ScoringRequest, table: Sequence[bytes]) -> bytes:
    """Returns the bytes at the end of a request's input that begin a character."""
    return incomplete_suffix_after(_tokens(request).tolist(), table, request.start.undecoded)


def _tokens(request: GenerationRequest | ScoringRequest) -> IntArray:
    tokens: IntArray = request.inputs.tokens
    return tokens


def sequence_score(scores: ScoreResult, model: Model, *, with_tokens: bool) -> pb.SequenceScore:
    """Returns the log-probability and perplexity of a text."""
    total = math.fsum(report.chosen.logprob for report in scores.reports)
    count = len(scores.reports)
    return pb.SequenceScore(
        logprob=total,
        scored_tokens=count,
        perplexity=perplexity(total, count),
        tokens=[step_logprobs(report, model.table) for report in scores.reports] if with_tokens else (),
    )


def step_logprobs(report: StepReport, table: Sequence[bytes]) -> common.StepLogprobs:
    """Returns the token of a step and the most likely ones."""
    message = common.StepLogprobs()
    fill_step_logprobs(message, report, table)
    return message


def fill_step_logprobs(message: common.StepLogprobs, report: StepReport, table: Sequence[bytes]) -> None:
    """Fills an existing message as step_logprobs does, which costs a quarter of making and copying one."""
    _fill(message.chosen, report.chosen, table)
    for candidate in report.top:
        _fill(message.top.add(), candidate, table)


def token_logprob(candidate: Candidate, table: Sequence[bytes]) -> common.TokenLogprob:
    """Returns a token and its log-probability."""
    message = common.TokenLogprob()
    _fill(message, candidate, table)
    return message


def _fill(message: common.TokenLogprob, candidate: Candidate, table: Sequence[bytes]) -> None:
    message.token_id = candidate.token
    message.token = table[candidate.token].decode("utf-8", "replace")
    message.logprob = candidate.logprob
    message.rank = candidate.rank
