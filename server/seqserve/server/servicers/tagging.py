"""TaggingService: a label for every token."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio

from seqserve.server.convert import fields
from seqserve.server.convert import tagging as convert
from seqserve.server.repository import Repository
from seqserve.server.requests import ReadingRequest
from seqserve.server.servicers.reading import results
from seqserve.server.settings import LimitSettings
from seqserve.server.stream import Reading
from seqserve.server.tagging import chain_of, choose_labels
from seqserve.v1 import tagging_pb2 as pb
from seqserve.v1.tagging_pb2_grpc import TaggingServiceServicer


class TaggingServicer(TaggingServiceServicer):
    """Answers TaggingService. StreamTag is not implemented yet."""

    def __init__(self, repository: Repository, limits: LimitSettings) -> None:
        self._repository = repository
        self._limits = limits

    async def Tag(self, request: pb.TagRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.TagResponse:
        """Tag whole texts; the texts of one request, and of others, share batches. A text may have no tokens."""
        model = self._repository.model(*fields.model_ref(request.model))
        tokenized = convert.tag_inputs(request, model, self._limits)
        asked = [ReadingRequest(text.inputs) for text in tokenized if len(text.inputs)]
        with self._repository.hold(model):
            readings = await results(model.engine, asked, fields.admission(context, model.engine), Reading)
        scores = [reading.arrays[0] for reading in readings]
        if (chain := chain_of(model.manifest.labels)) is None:
            chosen = [choose_labels(scores_TL, request.outputs.top_labels) for scores_TL in scores]
        else:  # a loop over steps, which in a long text would keep the event loop waiting
            chosen = await asyncio.to_thread(
                lambda: [choose_labels(scores_TL, request.outputs.top_labels, chain) for scores_TL in scores]
            )
        answers = iter(chosen)
        sequences = [
            convert.tagged_sequence(
                item, text, next(answers) if len(text.inputs) else [], model, request.outputs.offset_unit
            )
            for item, text in zip(request.inputs, tokenized, strict=True)
        ]
        return pb.TagResponse(
            servable=fields.servable_id(model.servable.id),
            sequences=sequences,
            timing=fields.timing_of([reading.times for reading in readings]),
        )
