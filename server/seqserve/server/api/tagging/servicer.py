"""TaggingService: assigns a label to every token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc.aio
import numpy as np

from seqserve.server.api import fields
from seqserve.server.api.execution import gather_results, run_off_loop
from seqserve.server.api.response_size import check_fits, check_tags_fit
from seqserve.server.api.stream_service import serve_stream
from seqserve.server.api.tagging import requests
from seqserve.server.api.tagging.stream import TagStream
from seqserve.server.api.texts import tokenizing_bytes
from seqserve.server.decoding.tagging import chain_of, choose_labels
from seqserve.server.engine.output_stream import ForwardResult
from seqserve.server.engine.requests import ForwardRequest
from seqserve.server.repository import Model, Repository
from seqserve.server.sessions import Sessions
from seqserve.server.settings import ServerSettings
from seqserve.server.text.tokenization import Tokenized
from seqserve.v1 import tagging_pb2 as pb
from seqserve.v1.tagging_pb2_grpc import TaggingServiceServicer

_BYTES_PER_TAG = 32  # of an answer, about

Context = grpc.aio.ServicerContext[Any, Any]


class TaggingServicer(TaggingServiceServicer):
    """Answers TaggingService."""

    def __init__(self, repository: Repository, sessions: Sessions, settings: ServerSettings) -> None:
        self._repository = repository
        self._sessions = sessions
        self._settings = settings
        self._limits = settings.limits

    async def Tag(self, request: pb.TagRequest, context: Context) -> pb.TagResponse:
        """Tags whole texts. The texts of all requests share batches. A text may have no tokens."""
        model = self._repository.model(*fields.model_ref(request.model))
        with self._repository.hold(model):
            tokenized = await run_off_loop(
                tokenizing_bytes(request), lambda: requests.tag_inputs(request, model, self._limits)
            )
            forward_requests = [ForwardRequest(text.inputs) for text in tokenized if len(text.inputs)]
            tokens = sum(len(each.inputs) for each in forward_requests)
            check_tags_fit(tokens, request.outputs.top_labels, self._limits, "outputs.top_labels")
            readings = await gather_results(
                model.engine, forward_requests, fields.admission(context, model.engine), ForwardResult
            )
        size = tokens * _BYTES_PER_TAG
        response = await run_off_loop(size, lambda: _answer(request, model, tokenized, readings))
        check_fits(response, self._limits, "outputs.top_labels")
        return response

    def StreamTag(
        self, request_iterator: AsyncIterator[pb.StreamTagRequest], context: Context
    ) -> AsyncGenerator[pb.StreamTagResponse]:
        """Tags input as it arrives. Each message holds everything since the one before."""
        return serve_stream(TagStream, request_iterator, context, self._sessions, self._settings)


def _answer(
    request: pb.TagRequest, model: Model, tokenized: list[Tokenized], readings: list[ForwardResult]
) -> pb.TagResponse:
    labels, scores = model.manifest.labels, iter([reading.arrays[0] for reading in readings])
    nothing = np.empty((0, len(labels.names)), np.float32)  # what a text without tokens gets
    texts = [next(scores) if len(text.inputs) else nothing for text in tokenized]
    chosen = choose_labels(texts, request.outputs.top_labels, chain_of(labels))
    return pb.TagResponse(
        servable=fields.servable_id(model.servable.id),
        sequences=[
            requests.tagged_sequence(item, text, choices, labels, request.outputs)
            for item, text, choices in zip(request.inputs, tokenized, chosen, strict=True)
        ],
        timing=fields.timing_of([reading.times for reading in readings]),
    )
