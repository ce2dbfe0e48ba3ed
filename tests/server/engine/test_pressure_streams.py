"""What callers of streams rely on when one of them stops reading, or never ends."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from seqserve.server.app import Server
from seqserve.server.engine.engine import Engine
from seqserve.server.settings import ServerSettings
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub

PIECE = pb.StreamScoreRequest(text="the cat sat on a mat. " * 4)
SIZE = len(PIECE.text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.servables import make_language_model  # torch takes seconds to import: only those who need it wait

    folder = tmp_path_factory.mktemp("feeds")
    make_language_model(folder / "lstm", layers=1, hidden_size=16)
    return folder


@asynccontextmanager
async def serving(root: Path, **batch: Any) -> AsyncIterator[tuple[str, Engine]]:
    server = Server(ServerSettings(models=root, listen="127.0.0.1:0", drain_s=0, batch={"engines": 1} | batch))  # type: ignore[arg-type]
    try:
        address = await server.start()
        (engine,) = server.repository.model("lstm", None).engine.engines
        yield address, engine
    finally:
        await server.stop()


async def begun(channel: grpc.aio.Channel, **config: Any) -> Any:
    call: Any = GenerationServiceStub(channel).StreamScore()
    await call.write(pb.StreamScoreRequest(config=pb.StreamScoreConfig(model=common.ModelRef(name="lstm"), **config)))
    assert (await call.read()).HasField("started")
    return call


async def read(call: Any, tokens: int) -> None:
    while tokens > 0:
        tokens -= len((await call.read()).piece.tokens)
    assert tokens == 0


async def test_a_caller_that_does_not_read_is_read_no_further(root: Path) -> None:
    ahead = 100
    options = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    async with (
        serving(root, steps_ahead_max=ahead) as (address, engine),
        grpc.aio.insecure_channel(address, options=options) as channel,
        grpc.aio.insecure_channel(address) as others,
    ):
        stalled = await begun(channel, top_logprobs=20)  # heavy messages fill what lies between soon
        (feed,) = engine._scheduler.open_streams
        written, limit, fed = 0, 0, -1
        while feed.pushed > fed:  # until nothing more fits between it and its reader
            fed = feed.pushed
            for _ in range(20):
                await stalled.write(PIECE)
                written += 1
                limit = max(limit, feed.backlog)
            neighbour = await begun(others)
            for _ in range(10):
                await neighbour.write(PIECE)
            await read(neighbour, 10 * SIZE - 1)
            neighbour.cancel()
        assert written > fed / SIZE
        assert limit <= ahead + SIZE
        await read(stalled, written * SIZE - 1)
        stalled.cancel()


async def test_a_stream_that_never_ends_takes_no_more_memory_than_a_short_one(root: Path) -> None:
    async with serving(root) as (address, _), grpc.aio.insecure_channel(address) as channel:
        call = await begun(channel, state={"session_id": "long", "create_if_absent": True})
        await call.write(PIECE)
        await read(call, SIZE - 1)

        async def send(pieces: int) -> int:
            for _ in range(pieces):
                await call.write(PIECE)
                await read(call, SIZE)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await send(100)
            after = await send(300)
        finally:
            tracemalloc.stop()
        assert after - before < 100_000  # bytes, for 26,400 tokens
        await call.done_writing()
        assert (await call.read()).finished.state.position == 401 * SIZE
