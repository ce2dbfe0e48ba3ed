"""InfillingService: fills in the blanks of a text."""

from __future__ import annotations

from typing import Any

import grpc.aio

from seqserve.server.api import fields
from seqserve.server.api.execution import gather_results, run_off_loop
from seqserve.server.api.infilling import requests
from seqserve.server.api.texts import tokenizing_bytes
from seqserve.server.decoding.infilling import candidates
from seqserve.server.engine.output_stream import ForwardResult
from seqserve.server.repository import Repository
from seqserve.server.settings import LimitSettings
from seqserve.v1 import infilling_pb2 as pb
from seqserve.v1.infilling_pb2_grpc import InfillingServiceServicer


class InfillingServicer(InfillingServiceServicer):
    """Answers InfillingService."""

    def __init__(self, repository: Repository, limits: LimitSettings) -> None:
        self._repository = repository
        self._limits = limits

    async def FillIn(self, request: pb.FillInRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.FillInResponse:
        """Fills in the blanks of whole texts, all blanks of a text at once. Texts share batches."""
        model = self._repository.model(*fields.model_ref(request.model))
        top = requests.top_tokens(request)
        with self._repository.hold(model):
            texts = await run_off_loop(
                tokenizing_bytes(request), lambda: requests.blank_texts(request, model, self._limits)
            )
            readings = await gather_results(
                model.engine, [text.request for text in texts], fields.admission(context, model.engine), ForwardResult
            )
        vocabulary = model.manifest.vocabulary
        return await run_off_loop(
            sum(reading.arrays[0].nbytes for reading in readings),
            lambda: pb.FillInResponse(
                servable=fields.servable_id(model.servable.id),
                sequences=[
                    requests.filled_sequence(
                        text, candidates(reading.arrays[0], top, vocabulary), model, request.offset_unit
                    )
                    for text, reading in zip(texts, readings, strict=True)
                ],
                timing=fields.timing_of([reading.times for reading in readings]),
            ),
        )
