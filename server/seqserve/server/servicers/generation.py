"""GenerationService: text from a language model."""

from __future__ import annotations

from typing import Any

import grpc.aio

from seqserve.server.convert import fields
from seqserve.server.convert import generation as convert
from seqserve.server.repository import Repository
from seqserve.server.settings import LimitSettings
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1.generation_pb2_grpc import GenerationServiceServicer


class GenerationServicer(GenerationServiceServicer):
    """Answers GenerationService. Score and StreamScore are not implemented yet."""

    def __init__(self, repository: Repository, limits: LimitSettings) -> None:
        self._repository = repository
        self._limits = limits

    async def Generate(  # type: ignore[override]  # writes to the context instead of yielding
        self, request: pb.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Stream what is generated; each message holds what has gathered since the one before."""
        model = self._repository.model(*fields.model_ref(request.model))
        asked = convert.generation_request(request, model, self._limits)
        sequence = model.engine.submit(asked)
        try:
            await context.write(convert.started(asked, model))
            answer = convert.Answer(asked, model, with_ids=not request.outputs.omit_token_ids)
            end = None
            while end is None:
                gathered = await sequence.stream.take()
                end = gathered.end
                await context.write(answer.piece(gathered))
            await context.write(answer.finished(end))
        finally:
            model.engine.cancel(sequence)
