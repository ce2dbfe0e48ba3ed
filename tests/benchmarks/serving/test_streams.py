"""Streams of a token a message: the load generator against the echo, the naive server and the real one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import model, processes, servers
from benchmarks.harness.processes import ServerProcess
from benchmarks.loadgen import http2, wires
from benchmarks.loadgen.load import Load, run
from benchmarks.loadgen.stream_messages import PIECE, STARTED, STREAMS
from benchmarks.serving import long_stream
from seqserve.v1 import generation_pb2, tagging_pb2
from tests.benchmarks.loadgen.test_http2 import CallLog

REQUESTS: dict[str, Any] = {"tag": tagging_pb2.StreamTagRequest, "score": generation_pb2.StreamScoreRequest}
RESPONSES: dict[str, Any] = {"tag": tagging_pb2.StreamTagResponse, "score": generation_pb2.StreamScoreResponse}
KINDS = sorted(STREAMS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    model.write(root, model.ModelSpec(hidden=16, layers=1))
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_messages_have_the_expected_kinds(kind: str) -> None:
    stream, request, response = STREAMS[kind], REQUESTS[kind], RESPONSES[kind]
    assert request.FromString(stream.opening).WhichOneof("message") == "config"
    assert request.FromString(stream.ending).WhichOneof("message") == "end"
    assert [list(request.FromString(message).token_ids.ids) for message in stream.tokens] == [
        [token] for token in range(96)
    ]
    answers = [
        response.FromString(message).WhichOneof("event") for message in (stream.started, stream.piece, stream.finished)
    ]
    assert answers == ["started", "piece", "finished"]
    assert (stream.started[0], stream.piece[0]) == (STARTED, PIECE)


def running_server(name: str, kind: str, models: Path, log: Path) -> AbstractContextManager[ServerProcess]:
    """One of the three servers, with models for the kind of stream."""
    if name == "echo":
        return processes.running("benchmarks", ["echo"], log)
    if name == "naive":
        of_task = model.TAGGER if kind == "tag" else model.NAME
        return processes.running("benchmarks", ["naive", str(servers.newest_version(models, of_task))], log)
    arguments = ["--models", str(models), "--listen", "127.0.0.1:0"]
    return processes.running("seqserve.server", arguments, log, {"SEQSERVE_DRAIN_S": "0"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["echo", "naive", "seqserve"])
@pytest.mark.parametrize("client", wires.KINDS)
async def test_every_server_answers_every_token_and_ends_every_stream_well(
    client: str, name: str, kind: str, models: Path, tmp_path: Path
) -> None:
    with running_server(name, kind, models, tmp_path / "log") as server:
        load = Load(kind, server.address, server.pid, callers=3, seconds=60, warmup_s=0, requests_max=40, client=client)
        result = await run(load)
    assert 40 <= result["tokens"] == result["messages"] == result["round_trip_ms"]["count"]
    assert result["server"]["rss_mib_after"] > 0  # its processor time may be below a tick of the clock


@pytest.mark.parametrize("kind", KINDS)
async def test_the_echo_answers_in_the_size_of_the_real_answers(kind: str, models: Path, tmp_path: Path) -> None:
    stream, log = STREAMS[kind], CallLog()
    with running_server("seqserve", kind, models, tmp_path / "log") as server:
        connection = await http2.connect(server.address, stream.method)
        sender = connection.open(log)
        sender.send(stream.opening)
        sender.send(stream.first)
        for count in range(2, 150):  # until positions take two bytes
            await log.until(count)
            sender.send(stream.tokens[count % len(stream.tokens)])
        sender.send(stream.ending, ends=True)
        assert await log.status == 0
        connection.close()
    assert len(log.messages) == 1 + 149 + 1
    assert RESPONSES[kind].FromString(log.messages[-1]).WhichOneof("event") == "finished"
    sizes = [len(message) for message in log.messages[140:-1]]
    assert max(sizes) - 2 <= len(stream.piece) <= max(sizes)


async def test_a_stream_that_is_refused_is_no_measurement(models: Path, tmp_path: Path) -> None:
    other = tmp_path / "models"
    (other / model.NAME).parent.mkdir()
    (other / model.NAME).symlink_to(models / model.NAME)
    load = Load("tag", "", callers=2, seconds=60, warmup_s=0)
    with (
        running_server("seqserve", "tag", other, tmp_path / "log") as server,
        pytest.raises(RuntimeError, match="ended with status 5"),
    ):
        await run(replace(load, address=server.address))


def test_a_long_stream_is_reported_by_tenths(models: Path) -> None:
    tokens = 1_000
    result = long_stream.measure_streams(models, tokens, at_a_time=7)
    assert result.keys() == {"tag", "score"}
    for kind, tenths in result.items():
        assert len(tenths) == 10
        assert tenths[-1].tokens == tokens
        assert all(one.tokens >= 100 * place for place, one in enumerate(tenths, 1))
        assert "1,000" in long_stream.table(kind, tenths)
        assert long_stream.summary(tenths).keys() > {"server_growth_mib", "client_growth_mib", "last_over_first"}
