"""ClassificationService: a label, or several, for a sequence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc.aio
import numpy as np

from seqserve.server.api import fields, state
from seqserve.server.api.classification import requests
from seqserve.server.api.classification.stream import ClassifyStream
from seqserve.server.api.client_stream import ClientStream, consume_input
from seqserve.server.api.execution import gather_results, run_off_loop
from seqserve.server.api.response_writer import response_writer
from seqserve.server.decoding.classification import label_probabilities
from seqserve.server.engine.output_stream import ForwardResult, StreamResult
from seqserve.server.engine.requests import ForwardRequest
from seqserve.server.engine.stream_handle import StreamHandle
from seqserve.server.model.inputs import Inputs
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
        """Classify whole texts; the texts of one request, and of others, share batches."""
        model = self._repository.model(*fields.model_ref(request.model))
        with self._repository.hold(model):
            tokenized = await run_off_loop(
                request.ByteSize(), lambda: requests.classify_inputs(request, model, self._limits)
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

    async def StreamClassify(  # type: ignore[override]  # writes to the context instead of yielding
        self, request_iterator: AsyncIterator[pb.StreamClassifyRequest], context: Context
    ) -> None:
        """Classify what came so far anew after each piece."""
        client_stream = ClientStream(request_iterator)
        config = (await client_stream.receive_config(self._limits.stream_idle_s)).config
        spec, idle_s = state.state_spec(config, self._settings.sessions), fields.idle_s(config, self._limits)
        owner, ref = fields.owner(context), fields.model_ref(config.model, "config.model")
        async with self._sessions.begin(spec, ref, owner) as transaction:
            engine, classifying = transaction.model.engine, ClassifyStream(config, transaction, self._limits)
            stream = engine.open(classifying.request, fields.admission(context, engine))
            reading = self._feed(client_stream, idle_s, classifying, stream)
            async with consume_input(stream, reading), response_writer(context, self._limits.stream_unread_s) as write:
                await write(classifying.started())
                while steps := await stream.output.take_chunks():
                    if (update := classifying.update(steps[-1])) is not None:
                        await write(update)
                end = await stream.output.take_result(StreamResult)
                result = await transaction.commit(classifying.final_state(end))
                await write(classifying.finished(end, state.state_result(result), client_stream.reason))

    async def _feed(
        self,
        client_stream: ClientStream[pb.StreamClassifyRequest],
        idle_s: float,
        classifying: ClassifyStream,
        stream: StreamHandle,
    ) -> None:
        """Read the caller's messages and feed their tokens, one piece after the other: each gets its answer."""
        async for kind, message in client_stream.receive_input(idle_s):
            await self._piece(classifying.steps(kind, message), stream)
        await self._piece(classifying.rest(), stream)

    async def _piece(self, steps: Iterator[Inputs], stream: StreamHandle) -> None:
        for inputs in steps:
            stream.push(inputs)
            await stream.until_below(self._settings.batch.steps_ahead_max)
        await stream.until_below(1)
