"""What callers rely on when there are more of them than fit, or when some of them stop reading or go away."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from seqserve.server.app import Server
from seqserve.server.engine.engine import Engine
from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.settings import ServerSettings
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import collect, refusal

ENDLESS = 100_000_000
MODEL = common.ModelRef(name="lstm")

Call = Any  # a stream of events
Serve = Callable[..., AbstractAsyncContextManager["Served"]]


@dataclass
class Served:
    """A server in this process, called over a real connection."""

    address: str
    stub: Any  # awaitable, on this channel
    engine: Engine

    @property
    def counts(self) -> tuple[int, int, int, int]:
        counts = self.engine.stats()
        return counts.waiting, counts.prefilling, counts.decoding, counts.paused

    def sequence(self, place: int = 0) -> GenerationSequence:
        """One of those that the engine has: those that run before those that wait."""
        scheduler = self.engine._scheduler
        with self.engine._awake:
            found = [*scheduler.prefilling, *scheduler.decoding, *scheduler.paused, *scheduler.waiting][place]
        assert isinstance(found, GenerationSequence)
        return found

    def generate(self, max_tokens: int = 12, *, seed: int = 0, text: str = "the cat", **more: Any) -> Call:
        return self.stub.Generate(a_request(max_tokens, seed, text), **more)

    async def running(self, max_tokens: int = ENDLESS, **more: Any) -> Call:
        """A generation that has begun to run."""
        call = self.generate(max_tokens, **more)
        assert (await call.read()).WhichOneof("event") == "started"
        assert (await call.read()).WhichOneof("event") == "piece"
        return call

    async def waiting(self, **more: Any) -> Call:
        """A generation that has been admitted."""
        call = self.generate(**more)
        assert (await call.read()).WhichOneof("event") == "started"
        return call


def a_request(max_tokens: int, seed: int, text: str) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        model=MODEL,
        text=text,
        sampling=pb.SamplingParams(seed=seed),
        stopping=pb.StoppingParams(max_tokens=max_tokens),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one model that generates for as long as one likes."""
    from tests.servables import make_language_model  # torch takes seconds to import: only those who need it wait

    def no_limit(manifest: manifest_pb2.Manifest) -> None:
        manifest.limits.generate_tokens_max = ENDLESS

    folder = tmp_path_factory.mktemp("pressure")
    make_language_model(folder / "lstm", layers=1, hidden_size=16, edit=no_limit)
    return folder


@pytest.fixture
def serve(root: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Starts a server with the batch settings given; one that never makes room, nor pauses, unless told otherwise."""
    for name in list(os.environ):
        if name.upper().startswith("SEQSERVE_"):
            monkeypatch.delenv(name)

    @asynccontextmanager
    async def serving(**batch: Any) -> AsyncIterator[Served]:
        defaults = {"engines": 1, "slice_tokens": ENDLESS, "tokens_ahead_max": ENDLESS}
        server = Server(
            ServerSettings(models=root, listen="127.0.0.1:0", drain_s=0, batch=defaults | batch)  # type: ignore[arg-type]
        )
        try:
            address = await server.start()
            (engine,) = server.repository.model("lstm", None).engine.engines
            async with grpc.aio.insecure_channel(address) as channel:
                yield Served(address, GenerationServiceStub(channel), engine)
        finally:
            await server.stop()

    return serving


async def text_of(call: Call) -> tuple[list[int], str]:
    """All tokens and the text from here to the end."""
    ids: list[int] = []
    text = ""
    finished = False
    while (event := await call.read()) is not grpc.aio.EOF:
        ids += event.piece.token_ids
        text += event.piece.text
        finished = event.HasField("finished")
    assert finished
    return ids, text


async def test_beyond_the_queue_a_caller_is_refused_at_once_and_the_rest_are_unharmed(serve: Serve) -> None:
    async with serve(size_max=2, queue_depth_max=3, retry_after_s=2.5) as served:
        endless = [await served.running(seed=seed) for seed in range(2)]
        waiting = [await served.waiting(seed=seed) for seed in range(3)]
        for _ in range(5):
            reported = await refusal(served.generate())
            assert (reported.code, reported.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL")
            assert reported.retry_s == 2.5
            assert "3 requests are waiting" in reported.message
        assert served.counts == (3, 0, 2, 0)
        for call in endless:
            call.cancel()
        crowded = [await text_of(call) for call in waiting]
        alone = [await collect(served.generate(seed=seed)) for seed in range(3)]
        assert crowded == [(answer.ids, answer.text) for answer in alone]
        assert served.counts == (0, 0, 0, 0)


async def test_a_reader_that_stalls_pauses_itself_alone_and_then_gets_all_the_rest(serve: Serve) -> None:
    ahead, tokens = 64, 5_000
    async with serve(tokens_ahead_max=ahead) as served:
        options = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
        async with grpc.aio.insecure_channel(served.address, options=options) as channel:
            stub: Any = GenerationServiceStub(channel)
            request = a_request(tokens, 7, "a dog")
            request.outputs.logprobs = 20  # heavy messages fill what lies between soon
            stalled = stub.Generate(request)
            assert (await stalled.read()).HasField("started")
            sequence = served.sequence()
            generated = -1
            while sequence.generated > generated:  # until nothing more fits between it and its reader
                generated = sequence.generated
                for seed in range(5):  # others come and go
                    assert len((await collect(served.generate(40, seed=seed))).ids) == 40
            assert served.counts == (0, 0, 0, 1)
            assert generated < tokens
            assert generated - sequence.stream.taken[0] <= ahead
            ids, _ = await text_of(stalled)
            assert len(ids) == tokens
            assert sequence.ended
            assert served.counts == (0, 0, 0, 0)


@pytest.mark.parametrize("way", ["cancel", "disconnect"])
async def test_a_caller_that_goes_away_frees_its_row_for_the_next(serve: Serve, way: str) -> None:
    async with serve(size_max=1) as served:
        channel = grpc.aio.insecure_channel(served.address)
        stub: Any = GenerationServiceStub(channel)
        call = stub.Generate(a_request(ENDLESS, 0, "on"))
        await call.read()
        await call.read()
        sequence = served.sequence()
        waiting = await served.waiting()
        if way == "cancel":
            call.cancel()
        else:
            await channel.close()
        ids, _ = await text_of(waiting)
        assert len(ids) == 12
        assert sequence.ended
        assert sequence.generated < ENDLESS
        assert served.counts == (0, 0, 0, 0)
        await channel.close()


async def test_a_caller_that_goes_away_while_it_waits_is_never_run(serve: Serve) -> None:
    async with serve(size_max=1) as served:
        endless = await served.running()
        waiting = await served.waiting()
        sequence = served.sequence(-1)
        waiting.cancel()
        while served.counts[0]:
            await refusal(served.stub.Generate(pb.GenerateRequest()))  # a round trip
        endless.cancel()
        await collect(served.generate())
        assert sequence.generated == 0
        assert served.counts == (0, 0, 0, 0)


async def test_a_deadline_ends_the_generation_and_it_never_runs_on(serve: Serve) -> None:
    async with serve(size_max=1) as served:
        call = await served.running(timeout=0.5)
        sequence = served.sequence()
        waiting = await served.waiting()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await text_of(call)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        ids, _ = await text_of(waiting)
        assert len(ids) == 12
        generated = sequence.generated
        assert sequence.ended
        await collect(served.generate(300))
        assert sequence.generated == generated < ENDLESS
        assert served.counts == (0, 0, 0, 0)


async def test_a_greedy_caller_leaves_others_their_turn(serve: Serve) -> None:
    async with serve(size_max=2, slice_tokens=20, queue_depth_max=64) as served:
        greedy = [served.generate(ENDLESS, metadata=(("seqserve-principal", "greedy"),)) for _ in range(20)]
        for call in greedy:
            await call.read()
        answer = await collect(served.generate(100, metadata=(("seqserve-principal", "modest"),)))
        assert len(answer.ids) == 100
        for call in greedy:
            call.cancel()
