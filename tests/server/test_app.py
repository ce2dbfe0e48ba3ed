"""The server as a whole: start, health, reflection, drain, and stop, in this process and in a separate one."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import grpc.aio
import onnxruntime
import pytest
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import refusal
from tests.conftest import MadeRepository
from tests.processes.redis_server import redis_server

CONTRACT = ("generation", "tagging", "classification", "infilling", "session", "model")
METHODS = [
    f"{service}/{method.name}"
    for name in CONTRACT
    for service in [f"{name.title()}Service"]
    for method in descriptor_pool.Default().FindServiceByName(f"seqserve.v1.{service}").methods
]
REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


Task = asyncio.Task[list[pb.GenerateResponse]]


def asks(tokens: int) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        model=common.ModelRef(name="lstm"),
        text="the",
        sampling=pb.SamplingParams(seed=1),
        stopping=pb.StoppingParams(max_tokens=tokens),
    )


async def health(channel: grpc.aio.Channel, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
    answer: health_pb2.HealthCheckResponse = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return answer.status


@pytest.mark.parametrize(
    ("models", "overall", "generation", "tagging"),
    [
        (("lstm", "tagger"), SERVING, SERVING, SERVING),
        (("gru",), SERVING, SERVING, NOT_SERVING),
        (("tagger",), SERVING, NOT_SERVING, SERVING),
        ((), NOT_SERVING, NOT_SERVING, NOT_SERVING),
    ],
)
async def test_a_service_is_healthy_if_a_model_answers_it(
    made: MadeRepository, root: Path, models: tuple[str, ...], overall: int, generation: int, tagging: int
) -> None:
    for name in models:
        shutil.copytree(made.root / name, root / name)
    async with running_server(root) as address, grpc.aio.insecure_channel(address) as channel:
        assert await health(channel, "") == overall
        assert await health(channel, "seqserve.v1.GenerationService") == generation
        assert await health(channel, "seqserve.v1.TaggingService") == tagging
        assert await health(channel, "seqserve.v1.ModelService") == SERVING
        assert await health(channel, "seqserve.v1.SessionService") == SERVING
        reported = await refusal(health(channel, "seqserve.v1.OtherService"))
        assert reported.code is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_every_service(channel: grpc.aio.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await call.read()
    listed = {service.name for service in answer.list_services_response.service}
    services = {
        service.full_name
        for name in CONTRACT
        for service in descriptor_pool.Default().FindFileByName(f"seqserve/v1/{name}.proto").services_by_name.values()
    }
    assert listed == services | {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_of_the_contract_is_answered(channel: grpc.aio.Channel, method: str) -> None:
    service, _, name = method.partition("/")
    found = descriptor_pool.Default().FindServiceByName(f"seqserve.v1.{service}").FindMethodByName(name)
    path = f"/seqserve.v1.{method}"
    if name.startswith("List"):  # these need no telling of what
        await channel.unary_unary(path, bytes, bytes)(b"")
    elif found.client_streaming:
        assert (await refusal(channel.stream_stream(path, bytes, bytes)(iter([b""])))).code in REFUSALS
    elif found.server_streaming:
        assert (await refusal(channel.unary_stream(path, bytes, bytes)(b""))).code in REFUSALS
    else:
        assert (await refusal(channel.unary_unary(path, bytes, bytes)(b""))).code in REFUSALS


async def test_port_0_takes_a_free_port_and_tells_it(root: Path) -> None:
    async with running_server(root) as first, running_server(root) as second:
        assert re.fullmatch(r"127\.0\.0\.1:[1-9][0-9]*", first)
        assert first != second


async def test_two_servers_cannot_share_a_port(root: Path) -> None:
    async with running_server(root) as address:
        with pytest.raises(OSError, match=f"cannot listen on {address}: is the port taken?"):
            async with running_server(root, listen=address):
                pass
        async with grpc.aio.insecure_channel(address) as channel:
            assert await health(channel, "seqserve.v1.ModelService") == SERVING  # the first one still answers


@asynccontextmanager
async def stopped_while_generating(made: MadeRepository, *, tokens: int, drain_s: float) -> AsyncIterator[Task]:
    """A generation whose server was asked to stop after its first piece, and has stopped."""
    begun = asyncio.Event()

    async def read(
        call: grpc.aio.UnaryStreamCall[pb.GenerateRequest, pb.GenerateResponse],
    ) -> list[pb.GenerateResponse]:
        events: list[pb.GenerateResponse] = []
        async for event in call:
            events.append(event)
            if event.HasField("piece"):
                begun.set()
        return events

    async with running_server(made.root, drain_s=drain_s) as address:
        channel = grpc.aio.insecure_channel(address)
        running = asyncio.create_task(read(GenerationServiceStub(channel).Generate(asks(tokens))))
        await begun.wait()
    async with channel:
        yield running


async def test_a_stream_that_runs_on_after_the_time_to_drain_is_told_so(made: MadeRepository) -> None:
    async with stopped_while_generating(made, tokens=100_000, drain_s=0.0) as running:
        reported = await refusal(running)
    assert (reported.code, reported.reason) == (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DRAINING")
    assert reported.message == "the server is stopping; try again, on another replica if there is one"
    assert reported.retry_s is not None


async def test_a_stream_that_ends_in_the_time_to_drain_ends_well(made: MadeRepository) -> None:
    async with stopped_while_generating(made, tokens=2000, drain_s=60.0) as running:
        events = await running
    assert events[-1].finished.generated_tokens == 2000


@asynccontextmanager
async def process(*arguments: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs the command seqserve-server in a separate process, and kills it at the end if it still runs."""
    command = (sys.executable, "-m", "seqserve.server", *map(str, arguments))
    pipe = asyncio.subprocess.PIPE

    def set_signals() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests themselves run under nohup
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts background jobs

    child = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, preexec_fn=set_signals)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def line_with(reader: asyncio.StreamReader | None, words: str) -> str:
    """The first line that has the words; what comes before it is skipped."""
    assert reader is not None
    async for line in reader:
        if words in line.decode():
            return line.decode()
    raise AssertionError(f"the output ended without {words!r}")


async def fails(*arguments: str | Path) -> str:
    """What a server that cannot start says on standard error."""
    async with process(*arguments) as child:
        out, error = await child.communicate()
        assert (child.returncode, out) == (2, b"")
        return error.decode()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_a_running_stream_end_and_ends_well(
    made: MadeRepository, stop: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQSERVE_DRAIN_S", "100")
    async with process("--models", made.root, "--listen", "127.0.0.1:0") as child:
        ready = await line_with(child.stdout, "ready")
        match = re.fullmatch(r"seqserve ready on (127\.0\.0\.1:\d+) with 3 models \(gru/1, lstm/1, tagger/1\)\n", ready)
        assert match is not None
        async with grpc.aio.insecure_channel(match[1]) as channel:
            events = aiter(GenerationServiceStub(channel).Generate(asks(3000)))
            await anext(events)
            child.send_signal(stop)
            await line_with(child.stderr, "stopping: running requests get 100 s")
            last = [event async for event in events][-1]
        assert last.finished.samples[0].reason == pb.FINISH_REASON_LENGTH
        assert last.finished.generated_tokens == 3000
        assert await child.wait() == 0


async def read_to_the_end(call: grpc.aio.UnaryStreamCall[pb.GenerateRequest, pb.GenerateResponse]) -> None:
    while await call.read():
        pass


async def test_sighup_drains_and_a_second_signal_ends_the_drain(
    made: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQSERVE_DRAIN_S", "1000")
    async with process("--models", made.root, "--listen", "127.0.0.1:0") as child:
        ready = await line_with(child.stdout, "ready")
        address = ready.split()[3]
        async with grpc.aio.insecure_channel(address) as channel:
            call = GenerationServiceStub(channel).Generate(asks(100_000))
            assert await call.read()
            child.send_signal(signal.SIGHUP)
            await line_with(child.stderr, "stopping: running requests get 1000 s")
            assert await call.read()  # it runs on
            child.send_signal(signal.SIGTERM)
            await line_with(child.stderr, "stopping at once")
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await read_to_the_end(call)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        assert await child.wait() == 0


async def test_sessions_do_not_serve_while_their_redis_is_down(made: MadeRepository, redis_url: str) -> None:
    service = "seqserve.v1.SessionService"
    with ExitStack() as redis:
        url = redis.enter_context(redis_server())
        async with (
            running_server(made.root, sessions={"redis": url, "lease_s": 1.0}) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
            watched = stub.Watch(health_pb2.HealthCheckRequest(service=service))
            assert (await watched.read()).status == SERVING
            redis.close()
            assert (await watched.read()).status == NOT_SERVING
            assert await health(channel, "seqserve.v1.GenerationService") == SERVING
            with redis_server("--port", url.rpartition(":")[2]):
                assert (await watched.read()).status == SERVING
            watched.cancel()


async def test_the_ready_line_counts_what_cannot_be_served(made: MadeRepository, root: Path) -> None:
    shutil.copytree(made.root, root, dirs_exist_ok=True)
    (root / "gru" / "1" / "model.onnx").write_bytes(b"")
    async with process("--models", root, "--listen", "127.0.0.1:0") as child:
        ready = await line_with(child.stdout, "ready")
        assert re.search(r" with 2 models \(lstm/1, tagger/1\); 1 cannot be served, see `seqserve models`\n$", ready)
        assert "model gru version 1 does not serve: model.onnx is not the file" in await line_with(child.stderr, "gru")


async def test_a_taken_port_is_a_clear_error(root: Path) -> None:
    async with running_server(root) as address:
        error_text = await fails("--models", root, "--listen", address)
    assert f"seqserve-server: cannot listen on {address}: is the port taken?" in error_text


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this machine has the provider"
)
async def test_cuda_where_it_is_not_installed_says_what_to_install(made: MadeRepository) -> None:
    error_text = await fails("--models", made.root, "--listen", "127.0.0.1:0", "--provider", "cuda")
    assert error_text.startswith("seqserve-server: provider 'cuda' is required, but this ONNX Runtime ")
    assert "pip install onnxruntime-gpu" in error_text


@pytest.mark.parametrize(
    ("arguments", "error_text"),
    [
        ((), "seqserve-server: setting models is missing: give --models, or SEQSERVE_MODELS\n"),
        (
            ("--models", "/nowhere"),
            "seqserve-server: the model repository /nowhere is not a folder; "
            "expected a folder of servables, DIR/MODEL/VERSION/\n",
        ),
        (("--models", "/", "--config", "/nowhere.toml"), "seqserve-server: there is no settings file /nowhere.toml\n"),
        (
            ("--models", "/", "--listen", "localhost:70000"),
            "seqserve-server: setting listen: Value error, the port must be in [0, 65535], got 70000\n",
        ),
    ],
)
async def test_settings_that_cannot_be_are_an_error_at_start(arguments: tuple[str, ...], error_text: str) -> None:
    assert await fails(*arguments) == error_text
