"""Serves a streaming method: reads the caller's messages and yields responses, both at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import grpc.aio

from seqserve.server.api import fields, state
from seqserve.server.api.client_stream import ClientStream, consume_input
from seqserve.server.api.execution import run_off_loop
from seqserve.server.api.stream_codec import MessageT, OutputT, ResponseT, StreamCodec
from seqserve.server.engine.output_stream import StreamResult
from seqserve.server.engine.stream_handle import StreamHandle
from seqserve.server.errors import ServeError
from seqserve.server.sessions import Sessions, StateTransaction
from seqserve.server.settings import LimitSettings, ServerSettings
from seqserve.server.text.incremental_tokenizer import TokenChunk

ConfigT = TypeVar("ConfigT", bound=fields.StreamConfig)


async def serve_stream(
    make_codec: Callable[[Any, StateTransaction, LimitSettings], StreamCodec[MessageT, OutputT, ResponseT]],
    messages: AsyncIterator[MessageT],
    context: grpc.aio.ServicerContext[Any, Any],
    sessions: Sessions,
    settings: ServerSettings,
) -> AsyncGenerator[ResponseT]:
    """Serves one call.

    Each response holds all outputs since the one before. An error of the input, or of the engine, comes after the
    responses to everything before it, and nothing is committed.

    Args:
        make_codec: Checks the stream's config and returns the codec of the stream.
        messages: The caller's messages, the config first.
        context: The call.
        sessions: Where the state comes from and goes.
        settings: Limits of the server.

    Yields:
        The first response, the responses to input, and the final response, which is sent after the commit.
    """
    limits = settings.limits
    client_stream = ClientStream(messages)
    config = (await client_stream.receive_config(limits.stream_idle_s)).config
    spec, idle_s = state.state_spec(config, settings.sessions), fields.idle_s(config, limits)
    owner, ref = fields.owner(context), fields.model_ref(config.model, "config.model")
    async with sessions.begin(spec, ref, owner) as transaction:
        engine, codec = transaction.model.engine, make_codec(config, transaction, limits)
        stream = engine.open(codec.request, fields.admission(context, engine))
        reading = _push_input(client_stream, idle_s, codec, stream, settings.batch.steps_ahead_max)
        async with consume_input(stream, reading):
            yield codec.started()
            error: ServeError | None = None
            try:
                while outputs := await codec.take(stream.output):
                    size = codec.response_bytes(outputs)
                    response = await run_off_loop(size, codec.response, outputs) if size else codec.response(outputs)
                    if response is not None:
                        yield response
            except ServeError as raised:
                error = raised
            response = await run_off_loop(codec.response_bytes([]), codec.last_response)
            if response is not None:
                yield response
            if error is not None:
                raise error
            result = await stream.output.take_result(StreamResult)
            committed = await transaction.commit(codec.final_state(result))
            yield codec.finished(result, state.state_result(committed), client_stream.reason)


async def _push_input(
    client_stream: ClientStream[MessageT],
    idle_s: float,
    codec: StreamCodec[MessageT, OutputT, ResponseT],
    stream: StreamHandle,
    steps_ahead_max: int,
) -> None:
    """Reads the caller's messages and pushes their tokens into the engine."""
    async for kind, message in client_stream.receive_input(idle_s):
        off_loop = codec.takes_long(kind, message)
        await _push_chunks(codec.chunks(kind, message), stream, steps_ahead_max, off_loop=off_loop)
        if codec.passes_flushes and kind == "flush":
            stream.flush()
        if codec.waits_for_each_message:
            await stream.until_below(1)
    off_loop = codec.text.takes_long("")
    await _push_chunks(codec.final_chunks(), stream, steps_ahead_max, off_loop=off_loop)


async def _push_chunks(
    chunks: Iterator[TokenChunk], stream: StreamHandle, steps_ahead_max: int, *, off_loop: bool
) -> None:
    """Pushes chunks, and waits while too many steps are unanswered or unread by the caller.

    Args:
        chunks: The chunks.
        stream: Takes them.
        steps_ahead_max: How many steps may be unanswered or unread.
        off_loop: Make each chunk on another thread.
    """
    while (chunk := await asyncio.to_thread(next, chunks, None) if off_loop else next(chunks, None)) is not None:
        if len(chunk.inputs):
            stream.push(chunk.inputs)
        if chunk.ends_sentence:
            stream.end_sentence()
        if stream.backlog >= steps_ahead_max:
            await stream.until_below(steps_ahead_max)
