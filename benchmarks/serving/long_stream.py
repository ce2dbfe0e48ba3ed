"""One stream of a million tokens: what the server and the client hold on the way, and how fast it goes at its end.

    python -m benchmarks long-stream [--tokens 1000000] [--at-a-time 50]

Text goes in through the Python client, and a tag or a score for every character comes back. The network is small: what
a stream costs beside it shall show. The last line is JSON.
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
    """The end of a tenth of the stream: resident memory there, and the speed and processor time of that tenth.

    cpu_us_per_token: of both sides; on a machine that others use it says more than the speed.
    """

    tokens: int
    server_rss_mib: float
    client_rss_mib: float
    tokens_s: float
    cpu_us_per_token: float


def source(tokens: int, at_a_time: int, seed: int = 0) -> Iterator[str]:
    """So many characters, some in each piece."""
    chance = random.Random(seed)
    while tokens > 0:
        count = min(at_a_time, tokens)
        yield "".join(chance.choices(model.CHARACTERS[1:], k=count))
        tokens -= count


def measure(server: ServerProcess, tokens: int, counts: Iterator[int]) -> list[Tenth]:
    """Read a stream to its end. Args: counts: how many answers come in each message."""
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
    """The kinds of streams, each as how many answers come in each message."""

    def tags() -> Iterator[int]:
        with client.stream_tag(model.TAGGER, source(tokens, at_a_time)) as stream:
            yield from (len(piece.tags) for piece in stream.pieces())

    def scores() -> Iterator[int]:
        yield 1  # the first token has no score
        with client.stream_score(model.NAME, source(tokens, at_a_time)) as stream:
            yield from map(len, stream.pieces())

    return {"tag": tags, "score": scores}


def table(kind: str, tenths: list[Tenth]) -> str:
    """Memory and speed on the way, a line each."""
    lines = [f"{kind:>8} {'tokens':>10} {'server MiB':>10} {'client MiB':>10} {'tokens/s':>9} {'cpu us':>7}"]
    for one in (tenths[tenth - 1] for tenth in SHOWN):
        memory = f"{one.server_rss_mib:10.1f} {one.client_rss_mib:10.1f}"
        lines.append(f"{'':8} {one.tokens:10,} {memory} {one.tokens_s:9,.0f} {one.cpu_us_per_token:7.1f}")
    return "\n".join(lines)


def summary(tenths: list[Tenth]) -> Json:
    """What has to be flat: memory from the first tenth's end on, and the last tenth's speed over the first's."""
    first, last = tenths[0], tenths[-1]
    return {
        "server_growth_mib": last.server_rss_mib - first.server_rss_mib,
        "client_growth_mib": last.client_rss_mib - first.client_rss_mib,
        "last_over_first": last.tokens_s / first.tokens_s,
        "cpu_last_over_first": last.cpu_us_per_token / first.cpu_us_per_token,
        "tenths": [asdict(one) for one in tenths],
    }


def measured(models: Path, tokens: int, at_a_time: int) -> dict[str, list[Tenth]]:
    """A stream of each kind, on a server of its own."""
    found: dict[str, list[Tenth]] = {}
    for kind in ("tag", "score"):
        with servers.start_server("seqserve", models) as server, Client(server.address) as client:
            found[kind] = measure(server, tokens, streams(client, tokens, at_a_time)[kind]())
    return found


def main(argv: Sequence[str]) -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks long-stream", description="A stream that is long.")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="of each stream (%(default)s)")
    parser.add_argument("--at-a-time", type=int, default=50, help="tokens a message (%(default)s)")
    model.add_arguments(parser, SMALL)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="seqserve-bench-") as name:
        model.build(Path(name), model.spec_of(given))
        found = measured(Path(name), given.tokens, given.at_a_time)
    for kind, tenths in found.items():
        print(table(kind, tenths), file=sys.stderr)
    about = {"machine": machine.machine(), "versions": machine.versions(), "at_a_time": given.at_a_time}
    print(json.dumps({kind: summary(tenths) for kind, tenths in found.items()} | about))
