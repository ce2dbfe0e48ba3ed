"""GenerationService: generates text with a language model, and scores texts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc.aio

from seqserve.server.api import fields, state
from seqserve.server.api.execution import INLINE_BYTES_MAX, gather_results, run_off_loop
from seqserve.server.api.generation import requests, responses
from seqserve.server.api.generation.score_stream import ScoreStream
from seqserve.server.api.response_size import check_fits, check_logprobs_fit
from seqserve.server.api.stream_service import serve_stream
from seqserve.server.api.texts import tokenizing_bytes
from seqserve.server.engine.output_stream import BeamResult, ScoreResult
from seqserve.server.engine.requests import GenerationRequest
from seqserve.server.engine.sequence import Sequence
from seqserve.server.repository import Model
from seqserve.server.sessions import Sessions, StateTransaction
from seqserve.server.settings import LimitSettings, ServerSettings
from seqserve.server.text.tokenization import has_long_run
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import state_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceServicer

_BYTES_PER_TOKEN = 32  # approximate size of its log-probabilities

Context = grpc.aio.ServicerContext[Any, Any]


class GenerationServicer(GenerationServiceServicer):
    """Answers GenerationService."""

    def __init__(self, sessions: Sessions, settings: ServerSettings) -> None:
        self._sessions = sessions
        self._settings = settings

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> AsyncGenerator[pb.GenerateResponse]:
        """Streams a generation. Each message contains all outputs since the previous one."""
        spec = state.state_spec(request, self._settings.sessions)
        requests.check_destination(request, spec)
        owner, ref = fields.owner(context), fields.model_ref(request.model)
        async with self._sessions.begin(spec, ref, owner) as transaction:
            limits, model, start = self._settings.limits, transaction.model, transaction.initial
            size = INLINE_BYTES_MAX + 1 if has_long_run(request.text) else request.ByteSize()
            requested = await run_off_loop(
                size, lambda: requests.generation_request(request, model, limits, start, spec)
            )
            if requested.prompt_logprobs is not None:
                check_logprobs_fit(len(requested.inputs), requested.prompt_logprobs, limits, "outputs.prompt_logprobs")
            engine = transaction.model.engine
            sequence = engine.submit(requested, fields.admission(context, engine, request.priority))
            self._sessions.counts.resumed += request.HasField("resume")
            try:
                if requested.beams is None:
                    events = _stream(requested, transaction, sequence, limits)
                else:
                    events = _search(requested, transaction, sequence)
                async for response in events:
                    yield response
            finally:
                engine.cancel(sequence)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        """Scores whole texts. The texts of all requests share batches."""
        spec = state.state_spec(request, self._settings.sessions)
        requests.check_destination(request, spec)
        owner, ref = fields.owner(context), fields.model_ref(request.model)
        async with self._sessions.begin(spec, ref, owner) as transaction:
            limits, model, start = self._settings.limits, transaction.model, transaction.initial
            size = tokenizing_bytes(request)
            requested = await run_off_loop(size, lambda: requests.scoring_requests(request, model, limits, start, spec))
            tokens = sum(len(each.inputs) for each in requested)
            if request.HasField("logprobs"):
                check_logprobs_fit(tokens, request.logprobs, limits, "logprobs")
            scores = await gather_results(model.engine, requested, fields.admission(context, model.engine), ScoreResult)
            response_size = tokens * _BYTES_PER_TOKEN * (1 + request.logprobs)
            response = await run_off_loop(response_size, lambda: _scored(request, model, scores))
            check_fits(response, limits, "logprobs")  # before the commit: a session must not advance without an answer
            if spec is not None:
                final_state = await run_off_loop(
                    size, lambda: responses.scoring_final_state(requested[0], model.table, scores[0].state)
                )
                response.state.CopyFrom(state.state_result(await transaction.commit(final_state)))
            return response

    def StreamScore(
        self, request_iterator: AsyncIterator[pb.StreamScoreRequest], context: Context
    ) -> AsyncGenerator[pb.StreamScoreResponse]:
        """Scores tokens as they arrive. Each message holds everything since the one before."""
        return serve_stream(ScoreStream, request_iterator, context, self._sessions, self._settings)


def _scored(request: pb.ScoreRequest, model: Model, scores: list[ScoreResult]) -> pb.ScoreResponse:
    with_tokens = request.HasField("logprobs")
    return pb.ScoreResponse(
        servable=fields.servable_id(model.servable.id),
        scores=[responses.sequence_score(score, model, with_tokens=with_tokens) for score in scores],
        timing=fields.timing_of([score.times for score in scores]),
    )


async def _stream(
    request: GenerationRequest, transaction: StateTransaction, sequence: Sequence, limits: LimitSettings
) -> AsyncGenerator[pb.GenerateResponse]:
    """Yields the samples as they grow; with best_of, the best of them at the end."""
    best, model = request.outputs.samples, transaction.model
    answer = responses.Answer(request, model.table)
    kept: dict[int, list[pb.GenerateResponse]] = {sample: [] for sample in range(request.samples)}
    begun = request.prompt_logprobs is None
    if begun:
        yield responses.started(request, model, [])
    while not answer.done:
        gathered = await sequence.stream.take()
        if not begun:
            begun = True
            prompt = sequence.stream.prompt
            size = len(prompt) * _BYTES_PER_TOKEN * (1 + (request.prompt_logprobs or 0))
            started = await run_off_loop(size, responses.started, request, model, prompt)
            check_fits(started, limits, "outputs.prompt_logprobs")
            yield started
        for sample, outputs in gathered.items():
            piece = answer.piece(sample, outputs)
            if piece is None:
                continue
            if best is not None:
                kept[sample].append(piece)
            else:
                yield piece
    chosen = list(range(request.samples)) if best is None else answer.best(best)
    for number, sample in enumerate(chosen):
        for piece in kept[sample]:
            piece.piece.sample = number
            yield piece
    first = chosen[0]
    result = state_pb2.StateResult(position=answer.ends[first].position)
    if request.keeps_state:  # before the last message: what was told to have ended is kept
        result = state.state_result(await transaction.commit(answer.final_state(first, sequence.members[first].state)))
    yield answer.finished(chosen, result)


async def _search(
    request: GenerationRequest, transaction: StateTransaction, sequence: Sequence
) -> AsyncGenerator[pb.GenerateResponse]:
    """Yields the results of a beam search, which has none before its end."""
    search = await sequence.stream.take_result(BeamResult)
    yield responses.started(request, transaction.model, [])
    for event in responses.search_events(request, transaction.model, search):
        yield event
