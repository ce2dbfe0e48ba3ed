"""ClassificationService: assigns one or several labels to a sequence."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc.aio
import numpy as np

from seqserve.server.api import fields
from seqserve.server.api.classification import requests
from seqserve.server.api.classification.stream import ClassifyStream
from seqserve.server.api.execution import gather_results, run_off_loop
from seqserve.server.api.stream_service import serve_stream
from seqserve.server.api.texts import tokenizing_bytes
from seqserve.server.decoding.classification import label_probabilities
from seqserve.server.engine.output_stream import ForwardResult
from seqserve.server.engine.requests import ForwardRequest
from seqserve.server.repository import Repository
from seqserve.server.sessions import Sessions
from seqserve.server.settings import ServerSettings
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1.classification_pb2_grpc import ClassificationServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class ClassificationServicer(ClassificationServiceServicer):
    """Answers ClassificationService."""

    def __init__(self, repository: Repository, sessions: Sessions, settings: ServerSettings) -> None:
        self._repository = repository
        self._sessions = sessions
        self._settings = settings
        self._limits = settings.limits

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:
        """Classifies whole texts. The texts of all requests share batches."""
        model = self._repository.model(*fields.model_ref(request.model))
        with self._repository.hold(model):
            tokenized = await run_off_loop(
                tokenizing_bytes(request), lambda: requests.classify_inputs(request, model, self._limits)
            )
            top = requests.top_labels(request, model)
            forward_requests = [ForwardRequest(text.inputs) for text in tokenized]
            readings = await gather_results(
                model.engine, forward_requests, fields.admission(context, model.engine), ForwardResult
            )
        labels = model.manifest.labels
        probabilities_BL = label_probabilities(np.stack([reading.arrays[0][-1] for reading in readings]), labels)
        return pb.ClassifyResponse(
            servable=fields.servable_id(model.servable.id),
            classifications=[
                requests.classification(probabilities_L, labels, top, len(text.inputs))
                for probabilities_L, text in zip(probabilities_BL, tokenized, strict=True)
            ],
            timing=fields.timing_of([reading.times for reading in readings]),
        )

    def StreamClassify(
        self, request_iterator: AsyncIterator[pb.StreamClassifyRequest], context: Context
    ) -> AsyncGenerator[pb.StreamClassifyResponse]:
        """Classifies all input so far after each message."""
        return serve_stream(ClassifyStream, request_iterator, context, self._sessions, self._settings)
