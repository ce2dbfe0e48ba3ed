"""Other callers during hostile requests: latency of health checks, and pauses of a running stream.

    python -m benchmarks hostile [--seconds 5] [--only hyphens stop_strings]

Each kind of hostile request (`attacks`) runs in a separate process. Meanwhile this process checks the server's health
every 20 ms and reads a stream of generated tokens. A step is the mean time of a token of that stream without an attack,
so that the longest pause in steps is comparable between machines. Prints a table; the last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from benchmarks.harness import machine, processes
from benchmarks.harness.processes import ServerProcess
from benchmarks.harness.servers import start_server
from benchmarks.harness.targets import Target, format_table
from benchmarks.loadgen.recording import Json
from benchmarks.serving.attacks import ATTACKS, LM
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as generation

HEALTH_P99_MS_MAX, PAUSE_STEPS_MAX = 50.0, 10.0
HEALTH_EVERY_S = 0.02
STREAM_TOKENS = 90_000
_GENERATE, _HEALTH = "/seqserve.v1.GenerationService/Generate", "/grpc.health.v1.Health/Check"


@dataclass(slots=True)
class Probe:
    """A caller that checks health and reads a stream.

    Attributes:
        health_s: Latencies of the health checks, in seconds.
        gaps_s: Times between messages of the stream, in seconds.
        tokens: Tokens of the stream.
    """

    health_s: list[float] = field(default_factory=list[float])
    gaps_s: list[float] = field(default_factory=list[float])
    tokens: int = 0

    async def run(self, address: str) -> None:
        """Checks and reads until cancelled; a stream that ends is followed by another one."""
        async with grpc.aio.insecure_channel(address) as channel, asyncio.TaskGroup() as group:
            group.create_task(self._check(channel))
            group.create_task(self._stream(channel))

    async def _check(self, channel: grpc.aio.Channel) -> None:
        check: Any = channel.unary_unary(_HEALTH)
        while True:
            start_s = time.perf_counter()
            await check(b"")
            took_s = time.perf_counter() - start_s
            self.health_s.append(took_s)
            await asyncio.sleep(max(0.0, HEALTH_EVERY_S - took_s))

    async def _stream(self, channel: grpc.aio.Channel) -> None:
        request = generation.GenerateRequest(model=common.ModelRef(name=LM), text="JULIET:")
        request.stopping.max_tokens = STREAM_TOKENS
        message = request.SerializeToString()
        generate: Any = channel.unary_stream(_GENERATE)
        while True:
            last_s = None
            async for response in generate(message):
                count = len(generation.GenerateResponse.FromString(response).piece.token_ids)
                if not count:
                    continue
                now_s = time.perf_counter()
                self.tokens += count
                if last_s is not None:
                    self.gaps_s.append(now_s - last_s)
                last_s = now_s

    def summary(self, step_s: float | None = None) -> Json:
        """Returns the figures. Args: step_s: Time of a step; None takes that of this probe, in a quiet time."""
        step_s = step_s or sum(self.gaps_s) / max(1, self.tokens)
        p50, p99, highest = 1e3 * np.percentile(self.health_s, (50, 99, 100))
        longest_s = max(self.gaps_s, default=float("inf"))
        return {
            "health_p50_ms": float(p50),
            "health_p99_ms": float(p99),
            "health_max_ms": float(highest),
            "pause_ms": 1e3 * longest_s,
            "pause_steps": longest_s / step_s,
            "step_us": 1e6 * step_s,
            "tokens_s": self.tokens / max(1e-9, sum(self.gaps_s)),
        }


async def measure_attack(name: str, server: ServerProcess, seconds: float, step_s: float) -> Json:
    """Probes the server while an attack runs, and until a second after its end: the pause that is open counts, too."""
    probe, before_mib = Probe(), processes.rss_mib(server.pid)
    probing = asyncio.create_task(probe.run(server.address))
    await asyncio.sleep(0.5)
    command = ("-m", "benchmarks", "attack", name, f"--address={server.address}", f"--seconds={seconds}")
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    await asyncio.sleep(1.0)
    if probing.done():
        probing.result()
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)
    attack: Json = json.loads(output)
    growth_mib = processes.rss_mib(server.pid) - before_mib
    return probe.summary(step_s) | attack | {"rss_growth_mib": growth_mib}


async def measure(server: ServerProcess, names: Sequence[str], seconds: float) -> Json:
    """Measures a quiet time, then each attack. Returns the figures by attack; "quiet" is the time without one."""
    quiet = Probe()
    probing = asyncio.create_task(quiet.run(server.address))
    await asyncio.sleep(0.5)
    quiet.health_s.clear()
    quiet.gaps_s.clear()
    quiet.tokens = 0
    await asyncio.sleep(min(seconds, 3.0))
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)
    result: Json = {"quiet": quiet.summary()}
    for name in names:
        result[name] = await measure_attack(name, server, seconds, result["quiet"]["step_us"] / 1e6)
        shown = ", ".join(f"{count} x {outcome}" for outcome, count in result[name]["outcomes"].items())
        print(f"{name}: {shown}; longest {result[name]['longest_s']:.1f} s", file=sys.stderr, flush=True)
    return result


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
    parser.add_argument("--models", type=Path, default=Path("models"), help="the committed models (%(default)s)")
    arguments = parser.parse_args(argv)
    with start_server("seqserve", arguments.models) as server:
        result = asyncio.run(measure(server, arguments.only, arguments.seconds))
    figures = flatten(result, arguments.only)
    print(format_table(figures, targets_of(arguments.only)))
    about = {"machine": machine.machine(), "versions": machine.versions(), "seconds": arguments.seconds}
    print(json.dumps({"benchmark": "hostile", **figures, "attacks": result, **about}))
