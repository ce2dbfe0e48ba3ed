"""TaggingService: a label for every token."""

from __future__ import annotations

from typing import Any

import grpc.aio
import numpy as np

from seqserve.server.convert import fields
from seqserve.server.convert import tagging as convert
from seqserve.server.repository import Model, Repository
from seqserve.server.requests import ReadingRequest
from seqserve.server.servicers.reading import apart, results
from seqserve.server.settings import LimitSettings
from seqserve.server.stream import Reading
from seqserve.server.tagging import chain_of, choose_labels
from seqserve.server.tokenization import Tokenized
from seqserve.v1 import tagging_pb2 as pb
from seqserve.v1.tagging_pb2_grpc import TaggingServiceServicer

_BYTES_PER_TAG = 32  # of an answer, about


class TaggingServicer(TaggingServiceServicer):
    """Answers TaggingService. StreamTag is not implemented yet."""

    def __init__(self, repository: Repository, limits: LimitSettings) -> None:
        self._repository = repository
        self._limits = limits

    async def Tag(self, request: pb.TagRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.TagResponse:
        """Tag whole texts; the texts of one request, and of others, share batches. A text may have no tokens."""
        model = self._repository.model(*fields.model_ref(request.model))
        tokenized = await apart(request.ByteSize(), lambda: convert.tag_inputs(request, model, self._limits))
        asked = [ReadingRequest(text.inputs) for text in tokenized if len(text.inputs)]
        with self._repository.hold(model):
            readings = await results(model.engine, asked, fields.admission(context, model.engine), Reading)
        size = sum(len(asking.inputs) for asking in asked) * _BYTES_PER_TAG
        return await apart(size, lambda: _answer(request, model, tokenized, readings))


def _answer(
    request: pb.TagRequest, model: Model, tokenized: list[Tokenized], readings: list[Reading]
) -> pb.TagResponse:
    labels, scores = model.manifest.labels, iter([reading.arrays[0] for reading in readings])
    nothing = np.empty((0, len(labels.names)), np.float32)  # what a text without tokens gets
    texts = [next(scores) if len(text.inputs) else nothing for text in tokenized]
    chosen = choose_labels(texts, request.outputs.top_labels, chain_of(labels))
    return pb.TagResponse(
        servable=fields.servable_id(model.servable.id),
        sequences=[
            convert.tagged_sequence(item, text, choices, labels, request.outputs)
            for item, text, choices in zip(request.inputs, tokenized, chosen, strict=True)
        ],
        timing=fields.timing_of([reading.times for reading in readings]),
    )
