"""The suite at a tiny size, limited by requests instead of seconds: that it runs, never how fast."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.harness import model, processes, servers
from benchmarks.harness.targets import format_table
from benchmarks.loadgen.load import Load, run
from benchmarks.loadgen.recording import RESOURCE_EXHAUSTED
from benchmarks.serving import figures, plot, suite
from benchmarks.serving.suite import Plan, Results, Suite

TINY = Plan(
    rounds=1,
    bare_model_s=0.02,
    closed_s=30.0,
    loads=(0.5,),
    offered_s=30.0,
    overload_s=30.0,
    long_prompts=1,
    cancels=20,
    stream_s=30.0,
    tag_s=0.1,
    tag_sentences=20,
    warmup_s=0.0,
    tokens=5,
    requests=20,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    model.write(root, model.ModelSpec(hidden=16, layers=1))
    return root


@pytest.fixture(scope="module")
def results(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    lines = tmp_path_factory.mktemp("bench") / "measurements.jsonl"
    return Suite(TINY, servers.newest_version(models), lines).run(), lines


def test_every_figure_is_there(results: tuple[Results, Path]) -> None:
    result = figures.compute_figures(results[0])
    assert set(result) == {target.key for target in figures.TARGETS}
    assert all(value is None or isinstance(value, float) for value in result.values())
    table = format_table(result, figures.TARGETS)
    assert all(target.key in table for target in figures.TARGETS)
    json.dumps(result)


def test_every_measurement_is_a_line(results: tuple[Results, Path]) -> None:
    lines = [json.loads(line) for line in results[1].read_text(encoding="utf-8").splitlines()]
    assert {line["measurement"] for line in lines} == {
        suite.BARE_MODEL,
        suite.CLOSED,
        suite.GRPC_AIO,
        suite.NAIVE,
        suite.PAUSE,
        suite.PEAK,
        suite.OFFERED,
        suite.CANCEL,
        suite.ECHO_STREAM,
        suite.STREAM,
        suite.NAIVE_STREAM,
        suite.ECHO_STREAM_GRPC,
        suite.STREAM_GRPC,
        suite.WHOLE,
    }
    assert all(line["machine"]["cores"] and line["versions"]["onnxruntime"] for line in lines)
    assert not any(line.get("failed") for line in lines if line["measurement"] == suite.CLOSED)


def test_cancelled_calls_are_all_cancelled(results: tuple[Results, Path]) -> None:
    assert results[0].cancelled["cancelled"] == TINY.cancels


def test_the_picture_is_drawn(results: tuple[Results, Path], tmp_path: Path) -> None:
    plot.draw(results[0].offered, tmp_path / "load.png")
    assert (tmp_path / "load.png").stat().st_size > 1000


@pytest.fixture
async def small_server(models: Path, tmp_path: Path) -> AsyncIterator[processes.ServerProcess]:
    """A server with room for one running request and one waiting."""
    limits = {"SEQSERVE_BATCH__SIZE_MAX": "1", "SEQSERVE_BATCH__QUEUE_DEPTH_MAX": "1"}
    arguments = ["--models", str(models), "--listen", "127.0.0.1:0"]
    with processes.running("seqserve.server", arguments, tmp_path / "log", {"SEQSERVE_DRAIN_S": "0", **limits}) as one:
        yield one


@pytest.mark.parametrize("client", ["http2", "grpc"])
async def test_both_clients_see_the_same_outcomes(small_server: processes.ServerProcess, client: str) -> None:
    """Three callers compete for two places: one is refused repeatedly."""
    load = Load(
        "closed", small_server.address, callers=3, seconds=30, warmup_s=0, tokens=90_000, requests_max=3, client=client
    )
    result = await run(load)
    assert set(result["failed"]) == {str(RESOURCE_EXHAUSTED)}
    assert result["tokens"] > 0


async def test_a_server_that_is_gone_is_an_outcome(models: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with processes.running("benchmarks", ["naive", str(servers.newest_version(models))], log) as server:
        pass
    with pytest.raises(OSError, match="Connect"):
        await run(Load("closed", server.address, seconds=0.0, warmup_s=0.0))


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="did not start"),
        processes.running("benchmarks", ["naive", str(tmp_path / "nothing")], tmp_path / "log"),
    ):
        pass
