"""One stream of a million tokens: memory of the server and the client on the way, and speed at the end.

    python -m benchmarks long-stream [--tokens 1000000] [--at-a-time 50]

Sends text through the Python client, which receives a tag or a score for every character. The network is small, so
that the cost of the stream dominates. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness import machine, model, processes, servers
from benchmarks.harness.processes import ServerProcess
from benchmarks.loadgen.recording import Json
from seqserve.client import Client

SMALL = model.ModelSpec(hidden=64, layers=1)
TENTHS = 10
SHOWN = (1, 5, 10)  # tenths whose end is in the table


@dataclass(frozen=True, slots=True)
class Tenth:
    """One tenth of the stream.

    Attributes:
        tokens: Tokens from the start of the stream to the end of this tenth.
        server_rss_mib: Resident memory of the server at its end.
        client_rss_mib: Resident memory of the client at its end.
        tokens_s: Tokens per second in this tenth.
        cpu_us_per_token: Processor time of both sides per token; more reliable than the speed on a shared machine.
    """

    tokens: int
    server_rss_mib: float
    client_rss_mib: float
    tokens_s: float
    cpu_us_per_token: float


def source(tokens: int, at_a_time: int, seed: int = 0) -> Iterator[str]:
    """Yields ``tokens`` random characters in pieces of ``at_a_time``."""
    chance = random.Random(seed)
    while tokens > 0:
        count = min(at_a_time, tokens)
        yield "".join(chance.choices(model.CHARACTERS[1:], k=count))
        tokens -= count


def measure(server: ServerProcess, tokens: int, counts: Iterator[int]) -> list[Tenth]:
    """Reads a stream to its end. Args: counts: Number of answers in each message."""
    tenths: list[Tenth] = []
    both = server.pid, os.getpid()
    answered = before = 0
    since_s, cpu_s = time.perf_counter(), sum(map(processes.cpu_s, both))
    for count in counts:
        answered += count
        if answered >= tokens * (len(tenths) + 1) // TENTHS:
            new = answered - before
            passed_s, spent_s = time.perf_counter() - since_s, sum(map(processes.cpu_s, both)) - cpu_s
            server_mib, client_mib = map(processes.rss_mib, both)
            tenth = Tenth(answered, server_mib, client_mib, new / passed_s, 1e6 * spent_s / new)
            while answered >= tokens * (len(tenths) + 1) // TENTHS and len(tenths) < TENTHS:
                tenths.append(tenth)  # one message may end several
            before, since_s, cpu_s = answered, since_s + passed_s, cpu_s + spent_s
    return tenths


def streams(client: Client, tokens: int, at_a_time: int) -> dict[str, Callable[[], Iterator[int]]]:
    """Returns for each kind of stream a function that yields the number of answers in each message."""

    def tags() -> Iterator[int]:
        with client.stream_tag(model.TAGGER, source(tokens, at_a_time)) as stream:
            yield from (len(piece.tags) for piece in stream.pieces())

    def scores() -> Iterator[int]:
        yield 1  # the first token has no score
        with client.stream_score(model.NAME, source(tokens, at_a_time)) as stream:
            yield from map(len, stream.pieces())

    return {"tag": tags, "score": scores}


def table(kind: str, tenths: list[Tenth]) -> str:
    """Formats memory and speed, one line per shown tenth."""
    lines = [f"{kind:>8} {'tokens':>10} {'server MiB':>10} {'client MiB':>10} {'tokens/s':>9} {'cpu us':>7}"]
    for one in (tenths[tenth - 1] for tenth in SHOWN):
        memory = f"{one.server_rss_mib:10.1f} {one.client_rss_mib:10.1f}"
        lines.append(f"{'':8} {one.tokens:10,} {memory} {one.tokens_s:9,.0f} {one.cpu_us_per_token:7.1f}")
    return "\n".join(lines)


def summary(tenths: list[Tenth]) -> Json:
    """Returns growth of memory after the first tenth, and ratios of the last tenth to the first."""
    first, last = tenths[0], tenths[-1]
    return {
        "server_growth_mib": last.server_rss_mib - first.server_rss_mib,
        "client_growth_mib": last.client_rss_mib - first.client_rss_mib,
        "last_over_first": last.tokens_s / first.tokens_s,
        "cpu_last_over_first": last.cpu_us_per_token / first.cpu_us_per_token,
        "tenths": [asdict(one) for one in tenths],
    }


def measure_streams(models: Path, tokens: int, at_a_time: int) -> dict[str, list[Tenth]]:
    """Measures a stream of each kind, each on a new server."""
    result: dict[str, list[Tenth]] = {}
    for kind in ("tag", "score"):
        with servers.start_server("seqserve", models) as server, Client(server.address) as client:
            result[kind] = measure(server, tokens, streams(client, tokens, at_a_time)[kind]())
    return result


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks long-stream", description="Measure one long stream.")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="tokens per stream (%(default)s)")
    parser.add_argument("--at-a-time", type=int, default=50, help="tokens per message (%(default)s)")
    model.add_arguments(parser, SMALL)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="seqserve-bench-") as name:
        model.build(Path(name), model.spec_of(arguments))
        tenths_of = measure_streams(Path(name), arguments.tokens, arguments.at_a_time)
    for kind, tenths in tenths_of.items():
        print(table(kind, tenths), file=sys.stderr)
    about = {"machine": machine.machine(), "versions": machine.versions(), "at_a_time": arguments.at_a_time}
    print(json.dumps({kind: summary(tenths) for kind, tenths in tenths_of.items()} | about))
