"""TaggingService: a label for every token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc.aio
import numpy as np

from seqserve.server.api import fields, state
from seqserve.server.api.client_stream import ClientStream, consume_input
from seqserve.server.api.execution import gather_results, run_off_loop
from seqserve.server.api.response_writer import Write, response_writer
from seqserve.server.api.tagging import requests
from seqserve.server.api.tagging.stream import TagStream
from seqserve.server.decoding.tagging import chain_of, choose_labels
from seqserve.server.engine.output_stream import ForwardResult, StreamResult
from seqserve.server.engine.requests import ForwardRequest
from seqserve.server.engine.stream_handle import StreamHandle
from seqserve.server.errors import ServeError, StreamIdleError
from seqserve.server.repository import Model, Repository
from seqserve.server.sessions import Sessions
from seqserve.server.settings import ServerSettings
from seqserve.server.text.incremental_tokenizer import TokenChunk
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
        """Tag whole texts; the texts of one request, and of others, share batches. A text may have no tokens."""
        model = self._repository.model(*fields.model_ref(request.model))
        with self._repository.hold(model):
            tokenized = await run_off_loop(
                request.ByteSize(), lambda: requests.tag_inputs(request, model, self._limits)
            )
            forward_requests = [ForwardRequest(text.inputs) for text in tokenized if len(text.inputs)]
            readings = await gather_results(
                model.engine, forward_requests, fields.admission(context, model.engine), ForwardResult
            )
        size = sum(len(asking.inputs) for asking in forward_requests) * _BYTES_PER_TAG
        return await run_off_loop(size, lambda: _answer(request, model, tokenized, readings))

    async def StreamTag(  # type: ignore[override]  # writes to the context instead of yielding
        self, request_iterator: AsyncIterator[pb.StreamTagRequest], context: Context
    ) -> None:
        """Tag what comes, as it comes: all that has gathered since the last message goes out in the next."""
        client_stream = ClientStream(request_iterator)
        config = (await client_stream.receive_config(self._limits.stream_idle_s)).config
        spec, idle_s = state.state_spec(config, self._settings.sessions), fields.idle_s(config, self._limits)
        owner, ref = fields.owner(context), fields.model_ref(config.model, "config.model")
        async with self._sessions.begin(spec, ref, owner) as transaction:
            engine, tagging = transaction.model.engine, TagStream(config, transaction, self._limits)
            stream = engine.open(tagging.request, fields.admission(context, engine))
            reading = self._feed(client_stream, idle_s, tagging, stream)
            async with consume_input(stream, reading), response_writer(context, self._limits.stream_unread_s) as write:
                await write(tagging.started())
                try:
                    while answers := await stream.output.take_chunks():
                        piece = await run_off_loop(tagging.work(answers) * _BYTES_PER_TAG, tagging.piece, answers)
                        if piece is not None:
                            await write(piece)
                except StreamIdleError:
                    raise
                except ServeError:  # a caller's mistake comes after the answer to all that was right
                    await self._rest(write, tagging)
                    raise
                await self._rest(write, tagging)
                end = await stream.output.take_result(StreamResult)
                result = await transaction.commit(tagging.final_state(end))
                await write(tagging.finished(end, state.state_result(result), client_stream.reason))

    async def _rest(self, write: Write, tagging: TagStream) -> None:
        """Write what the stream's end decides, if anything."""
        if (piece := await run_off_loop(tagging.work([]) * _BYTES_PER_TAG, tagging.last)) is not None:
            await write(piece)

    async def _feed(
        self,
        client_stream: ClientStream[pb.StreamTagRequest],
        idle_s: float,
        tagging: TagStream,
        stream: StreamHandle,
    ) -> None:
        """Read the caller's messages and feed what they settle, while not too much is unanswered."""
        async for kind, message in client_stream.receive_input(idle_s):
            await self._cuts(tagging.tokenize(kind, message), tagging, stream)
            if kind == "flush":
                stream.flush()
        await self._cuts(tagging.rest(), tagging, stream)

    async def _cuts(self, cuts: Iterable[TokenChunk], tagging: TagStream, stream: StreamHandle) -> None:
        for cut in cuts:
            tagging.note(cut)
            if len(cut.inputs):
                stream.push(cut.inputs)
            if cut.ends_sentence:
                stream.end_sentence()
            if stream.backlog >= (limit := self._settings.batch.steps_ahead_max):
                await stream.until_below(limit)


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
