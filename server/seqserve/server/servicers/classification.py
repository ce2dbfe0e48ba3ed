"""ClassificationService: a label, or several, for a sequence."""

from __future__ import annotations

from typing import Any

import grpc.aio
import numpy as np

from seqserve.server.classification import label_probabilities
from seqserve.server.convert import classification as convert
from seqserve.server.convert import fields
from seqserve.server.repository import Repository
from seqserve.server.requests import ReadingRequest
from seqserve.server.servicers.reading import results
from seqserve.server.settings import LimitSettings
from seqserve.server.stream import Reading
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1.classification_pb2_grpc import ClassificationServiceServicer


class ClassificationServicer(ClassificationServiceServicer):
    """Answers ClassificationService. StreamClassify is not implemented yet."""

    def __init__(self, repository: Repository, limits: LimitSettings) -> None:
        self._repository = repository
        self._limits = limits

    async def Classify(
        self, request: pb.ClassifyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ClassifyResponse:
        """Classify whole texts; the texts of one request, and of others, share batches."""
        model = self._repository.model(*fields.model_ref(request.model))
        tokenized, top = convert.classify_inputs(request, model, self._limits), convert.top_labels(request, model)
        asked = [ReadingRequest(text.inputs) for text in tokenized]
        with self._repository.hold(model):
            readings = await results(model.engine, asked, fields.admission(context, model.engine), Reading)
        labels = model.manifest.labels
        probabilities_BL = label_probabilities(np.stack([reading.arrays[0][-1] for reading in readings]), labels)
        return pb.ClassifyResponse(
            servable=fields.servable_id(model.servable.id),
            classifications=[
                convert.classification(probabilities_L, labels, top, len(text.inputs))
                for probabilities_L, text in zip(probabilities_BL, tokenized, strict=True)
            ],
            timing=fields.timing_of([reading.times for reading in readings]),
        )
