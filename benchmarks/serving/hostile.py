"""Other callers during hostile requests: latency of health checks, and pauses of running streams.

    python -m benchmarks hostile [--seconds 5] [--only hyphens stop_strings]

Each kind of hostile request (`attacks`) runs in a separate process. Meanwhile this process checks the server's health
every 20 ms and reads 32 streams of generated tokens. A step is the median gap of these streams without an attack, as in
the suite's long prompts. Prints a table; the last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from benchmarks.harness import machine, model, processes
from benchmarks.harness.processes import ServerProcess
from benchmarks.harness.servers import start_server
from benchmarks.harness.targets import Target, format_table
from benchmarks.loadgen.messages import METHOD, request
from benchmarks.loadgen.recording import Call, Json, Recorder
from benchmarks.loadgen.wires import Http2Wire, connect_http2
from benchmarks.serving.attacks import ATTACKS, TAGGER

HEALTH_P99_MS_MAX, PAUSE_STEPS_MAX = 50.0, 10.0
HEALTH_EVERY_S = 0.02
STREAMS, STREAM_TOKENS, CONNECTIONS = 32, 90_000, 4
SETTLE_S = 1.0
MODELS = Path("models")
_HEALTH = "/grpc.health.v1.Health/Check"


class Probe:
    """Callers that check health and read streams.

    Attributes:
        health_s: Latencies of the health checks, in seconds.
    """

    def __init__(self, health: grpc.aio.Channel) -> None:
        self.health_s: list[float] = []
        self._health: Any = health.unary_unary(_HEALTH)
        self._recorder = Recorder()
        self._calls: list[Call] = []
        self._failed: list[int] = []

    def start_streams(self, wire: Http2Wire, count: int = STREAMS) -> None:
        """Starts the streams, which run longer than any measurement."""
        for seed in range(count):
            call = Call(self._recorder, lambda _call, status, _now_s: self._failed.append(status))
            wire.start(request(seed, STREAM_TOKENS), call)
            self._calls.append(call)

    def begin(self) -> None:
        """Starts measuring."""
        self.health_s.clear()
        self._recorder.gaps_s.clear()
        self._recorder.measuring = True

    async def check_health(self) -> None:
        """Checks health until cancelled."""
        while True:
            start_s = time.perf_counter()
            await self._health(b"")
            took_s = time.perf_counter() - start_s
            self.health_s.append(took_s)
            await asyncio.sleep(max(0.0, HEALTH_EVERY_S - took_s))

    def summary(self, step_s: float | None = None) -> Json:
        """Returns the figures since `begin`.

        Args:
            step_s: Time of a step, in seconds; None takes the median gap of this measurement, of a quiet time.

        Raises:
            RuntimeError: A stream has ended.
        """
        if self._failed:
            raise RuntimeError(f"streams ended with status {self._failed}")
        now_s, gaps_s = time.perf_counter(), self._recorder.gaps_s
        median_s = float(np.median(gaps_s)) if gaps_s else float("nan")
        open_s = [now_s - call.last_s for call in self._calls if call.last_s is not None]  # gaps that are open now
        longest_s, step_s = max([*gaps_s, *open_s]), step_s or median_s
        p50, p99, highest = 1e3 * np.percentile(self.health_s, (50, 99, 100))
        return {
            "health_p50_ms": float(p50),
            "health_p99_ms": float(p99),
            "health_max_ms": float(highest),
            "median_gap_ms": 1e3 * median_s,
            "pause_ms": 1e3 * longest_s,
            "pause_steps": longest_s / step_s,
        }


async def measure_attack(name: str, server: ServerProcess, probe: Probe, seconds: float, step_s: float) -> Json:
    """Measures while an attack runs and for a second after its end."""
    before_mib = processes.rss_mib(server.pid)
    probe.begin()
    command = ("-m", "benchmarks", "attack", name, f"--address={server.address}", f"--seconds={seconds}")
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    await asyncio.sleep(SETTLE_S)
    attack: Json = json.loads(output)
    growth_mib = processes.rss_mib(server.pid) - before_mib
    return probe.summary(step_s) | attack | {"rss_growth_mib": growth_mib}


async def measure(server: ServerProcess, names: Sequence[str], seconds: float) -> Json:
    """Measures a quiet time, then each attack. Returns the figures by attack; "quiet" is the time without one."""
    wire = await connect_http2(server.address, CONNECTIONS, METHOD)
    async with grpc.aio.insecure_channel(server.address) as channel:
        probe = Probe(channel)
        probe.start_streams(wire)
        checking = asyncio.create_task(probe.check_health())
        await asyncio.sleep(SETTLE_S)
        probe.begin()
        await asyncio.sleep(min(seconds, 3.0))
        result: Json = {"quiet": probe.summary()}
        for name in names:
            result[name] = await measure_attack(name, server, probe, seconds, result["quiet"]["median_gap_ms"] / 1e3)
            shown = ", ".join(f"{count} x {outcome}" for outcome, count in result[name]["outcomes"].items())
            print(f"{name}: {shown}; longest {result[name]['longest_s']:.1f} s", file=sys.stderr, flush=True)
        checking.cancel()
        await wire.close()
        return result


@contextlib.contextmanager
def hostile_models() -> Iterator[Path]:
    """Yields a model repository: the benchmarks' language model, and the committed tagger."""
    with tempfile.TemporaryDirectory(prefix="seqserve-hostile-") as folder:
        model.build(Path(folder), model.ModelSpec())
        (Path(folder) / TAGGER).symlink_to((MODELS / TAGGER).resolve())
        yield Path(folder)


def targets_of(names: Sequence[str]) -> list[Target]:
    """Returns the targets of the attacks."""
    targets: list[Target] = []
    for name in names:
        targets.append(Target(f"{name}_health_p99_ms", "p99 of a health check, ms", at_most=HEALTH_P99_MS_MAX))
        targets.append(Target(f"{name}_pause_steps", "longest pause of a stream, steps", at_most=PAUSE_STEPS_MAX))
        targets.append(Target(f"{name}_rss_growth_mib", "growth of memory, MiB"))
    return targets


def flatten(result: Json, names: Sequence[str]) -> dict[str, float | None]:
    """Returns the figures of the table by name."""
    keys = ("health_p99_ms", "pause_steps", "rss_growth_mib")
    return {f"{name}_{key}": result[name][key] for name in names for key in keys}


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hostile", description="Measure hostile requests.")
    parser.add_argument("--seconds", type=float, default=5.0, help="per kind of request (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=tuple(ATTACKS), help="kinds (default: all)")
    arguments = parser.parse_args(argv)
    with hostile_models() as models, start_server("seqserve", models) as server:
        result = asyncio.run(measure(server, arguments.only, arguments.seconds))
    figures = flatten(result, arguments.only)
    print(format_table(figures, targets_of(arguments.only)))
    about = {"machine": machine.machine(), "versions": machine.versions(), "seconds": arguments.seconds}
    print(json.dumps({"benchmark": "hostile", **figures, "attacks": result, **about}))
