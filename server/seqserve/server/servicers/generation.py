"""GenerationService: text from a language model, and how likely it finds a text."""

from __future__ import annotations

from typing import Any

import grpc.aio

from seqserve.server.convert import events, fields
from seqserve.server.convert import generation as convert
from seqserve.server.repository import Model, Repository
from seqserve.server.requests import GenerationRequest
from seqserve.server.sequence import Sequence
from seqserve.server.servicers.reading import results
from seqserve.server.settings import LimitSettings
from seqserve.server.start import Start
from seqserve.server.stream import Scores, Search
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import state_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class GenerationServicer(GenerationServiceServicer):
    """Answers GenerationService. StreamScore is not implemented yet."""

    def __init__(self, repository: Repository, limits: LimitSettings) -> None:
        self._repository = repository
        self._limits = limits

    async def Generate(  # type: ignore[override]  # writes to the context instead of yielding
        self, request: pb.GenerateRequest, context: Context
    ) -> None:
        """Stream what is generated; each message holds what has gathered since the one before."""
        model = self._repository.model(*fields.model_ref(request.model))
        fields.refuse(request, ("state",), "")
        asked = convert.generation_request(request, model, self._limits, Start.new(), keeps_state=False)
        sequence = model.engine.submit(asked, fields.admission(context, model.engine, request.priority))
        try:
            if asked.beams is not None:
                await _search(request, asked, model, sequence, context)
            else:
                await _stream(request, asked, model, sequence, context)
        finally:
            model.engine.cancel(sequence)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        """Score whole texts; the texts of one request, and of others, share batches."""
        model = self._repository.model(*fields.model_ref(request.model))
        fields.refuse(request, ("state",), "")
        asked = convert.scoring_requests(request, model, self._limits, Start.new(), keeps_state=False)
        scores = await results(model.engine, asked, fields.admission(context, model.engine), Scores)
        return pb.ScoreResponse(
            servable=fields.servable_id(model.servable.id),
            scores=[events.sequence_score(score, model, with_tokens=request.HasField("logprobs")) for score in scores],
            timing=fields.timing_of([score.times for score in scores]),
        )


async def _stream(
    request: pb.GenerateRequest, asked: GenerationRequest, model: Model, sequence: Sequence, context: Context
) -> None:
    """Write the samples as they grow; with best_of, the best of them at the end."""
    wanted = max(request.sampling.n, 1)
    ranks = asked.samples > wanted
    with_logprobs = request.outputs.HasField("logprobs")
    answer = events.Answer(asked, model, with_ids=not request.outputs.omit_token_ids, with_logprobs=with_logprobs)
    kept: dict[int, list[pb.GenerateResponse]] = {sample: [] for sample in range(asked.samples)}
    begun = asked.prompt_logprobs is None
    if begun:
        await context.write(events.started(asked, model, []))
    while not answer.done:
        gathered = await sequence.stream.take()
        if not begun:
            begun = True
            await context.write(events.started(asked, model, sequence.stream.prompt))
        for sample, outputs in gathered.items():
            piece = answer.piece(sample, outputs)
            if piece is None:
                continue
            if ranks:
                kept[sample].append(piece)
            else:
                await context.write(piece)
    chosen = answer.best(wanted) if ranks else list(range(asked.samples))
    for number, sample in enumerate(chosen):
        for piece in kept[sample]:
            piece.piece.sample = number
            await context.write(piece)
    result = state_pb2.StateResult(position=answer.ends[chosen[0]].position)
    await context.write(answer.finished(chosen, result))


async def _search(
    request: pb.GenerateRequest, asked: GenerationRequest, model: Model, sequence: Sequence, context: Context
) -> None:
    """Write what a beam search found; it tells nothing before its end."""
    search = await sequence.stream.take_result(Search)
    await context.write(events.started(asked, model, []))
    for event in events.search_events(asked, model, search, with_ids=not request.outputs.omit_token_ids):
        await context.write(event)
