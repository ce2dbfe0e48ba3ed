"""TaggingService: a label for every token."""

from __future__ import annotations

from typing import Any

import grpc.aio

from seqserve.server.convert import fields
from seqserve.server.convert import tagging as convert
from seqserve.server.repository import Model, Repository
from seqserve.server.sequence import ReadingRequest, Sequence
from seqserve.server.settings import LimitSettings
from seqserve.server.stream import Gathered, Times
from seqserve.server.tagging import choose_labels
from seqserve.server.tokenization import Tokenized
from seqserve.v1 import tagging_pb2 as pb
from seqserve.v1.tagging_pb2_grpc import TaggingServiceServicer


class TaggingServicer(TaggingServiceServicer):
    """Answers TaggingService. StreamTag is not implemented yet."""

    def __init__(self, repository: Repository, limits: LimitSettings) -> None:
        self._repository = repository
        self._limits = limits

    async def Tag(self, request: pb.TagRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.TagResponse:
        """Tag whole texts; the texts of one request, and of others, share batches."""
        model = self._repository.model(*fields.model_ref(request.model))
        tokenized = convert.tag_inputs(request, model, self._limits)
        gathered = await _read(model, tokenized)
        sequences = [
            convert.tagged_sequence(
                item,
                text,
                [] if read is None else choose_labels(read.arrays[0], request.outputs.top_labels),
                model,
                request.outputs.offset_unit,
            )
            for item, text, read in zip(request.inputs, tokenized, gathered, strict=True)
        ]
        times = [read.end.times for read in gathered if read is not None and read.end is not None]
        return pb.TagResponse(
            servable=fields.servable_id(model.servable.id),
            sequences=sequences,
            timing=fields.timing(_span(times)) if times else None,
        )


async def _read(model: Model, tokenized: list[Tokenized]) -> list[Gathered | None]:
    """What the graph gives for each text, in order; None for a text without tokens."""
    sequences: list[Sequence | None] = []
    try:
        for text in tokenized:
            sequences.append(  # noqa: PERF401 - what was submitted has to be known if a later one is refused
                model.engine.submit(ReadingRequest(text.inputs)) if len(text.inputs) else None
            )
        return [None if sequence is None else await sequence.stream.take() for sequence in sequences]
    finally:
        for sequence in sequences:
            if sequence is not None:
                model.engine.cancel(sequence)


def _span(times: list[Times]) -> Times:
    """From the first moment of any text to the last of all."""
    return Times(
        min(time.admitted_s for time in times),
        min(time.started_s for time in times),
        min(time.first_output_s for time in times),
        max(time.ended_s for time in times),
    )
