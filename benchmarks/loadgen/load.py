"""The load generator: calls a server from a separate process and prints one JSON line.

python -m benchmarks load closed --address HOST:PORT --callers 64 --seconds 5
python -m benchmarks load open --address HOST:PORT --rate 150 --seconds 5      Poisson arrivals, requests per second
python -m benchmarks load cancel --address HOST:PORT --callers 64 --count 10000
python -m benchmarks load pause --address HOST:PORT --callers 32 --count 5     a long prompt among running streams
python -m benchmarks load tag --address HOST:PORT --callers 64 --seconds 5     streams, one token per message each way
python -m benchmarks load score --address HOST:PORT --callers 64 --seconds 5   the same with scores

It shares the cores with the server, so its processor time reduces the server's. Processor time per message, in us
(64 callers, a model so small that messages dominate, 2 cores with other load, two rounds; connections in brackets):

    grpc, a thread per caller  (1) 120 151   (4) 118 170
    grpc.aio                  (1) 106 112   (4) 151 126   (8) 103 103
    grpc.aio on uvloop                      (4) 127  91
    HTTP/2 by hand            (1)  46  53   (4)  61  55   (8)  62  61   (64) 73 64
    HTTP/2 by hand on uvloop                (4)  28  24

It therefore uses its own HTTP/2 code, on uvloop where that is installed; `--client grpc` measures with grpc.aio for
comparison. With four connections, callers rarely share one; one per caller would cost both sides slightly more.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.loadgen import wires, workloads
from benchmarks.loadgen.grpc_streams import GrpcStreams
from benchmarks.loadgen.recording import Json, Recorder
from benchmarks.loadgen.round_trips import RoundTrips
from benchmarks.loadgen.stream_messages import STREAMS, StreamKind

MODES = ("closed", "open", "cancel", "pause", *STREAMS)


@dataclass(frozen=True, slots=True)
class Load:
    """The load on a server.

    Attributes:
        mode: One of MODES.
        address: Address of the server, HOST:PORT.
        pid: Process whose processor time and memory are reported; None reports neither.
        callers: Concurrent callers or streams.
        seconds: Duration of the measurement, after the warm-up.
        warmup_s: Duration of the warm-up, in seconds.
        tokens: Tokens per request.
        rate: Arrivals per second (open).
        fill: Begin with a full queue (open).
        in_sessions: Each request creates a session and leaves its state there (closed).
        count: Number of cancelled calls (cancel) or of long prompts (pause).
        requests_max: End after this number of requests (closed, open) or round trips (tag, score), whatever the time;
            0 for no such end.
        client: One of wires.KINDS.
        connections: Connections that the callers share.
        seed: Seed of prompts, lengths and arrivals.
    """

    mode: str
    address: str
    pid: int | None = None
    callers: int = 64
    seconds: float = 5.0
    warmup_s: float = 1.0
    tokens: int = 200
    rate: float = 0.0
    fill: bool = False
    in_sessions: bool = False
    count: int = 0
    requests_max: int = 0
    client: str = "http2"
    connections: int = 4
    seed: int = 0


async def run(load: Load) -> Json:
    """Runs a load and returns its measurements."""
    recorder = Recorder(load.pid)
    kind = STREAMS.get(load.mode)
    result = await (_calls(load, recorder) if kind is None else _streams(load, recorder, kind))
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    settings = {
        "mode": load.mode,
        "client": load.client,
        "loop": loop,
        "connections": load.connections,
        "seed": load.seed,
    }
    return settings | {"callers": load.callers, "rate": load.rate} | result


async def _calls(load: Load, recorder: Recorder) -> Json:
    """Runs a load of Generate calls."""
    wire = await wires.connect(load.client, load.address, load.connections)
    try:
        if load.mode == "closed":
            closed = workloads.ClosedLoop(
                wire, recorder, load.callers, load.tokens, load.seed, in_sessions=load.in_sessions
            )
            return await closed.run(load.warmup_s, load.seconds, load.requests_max)
        if load.mode == "open":
            arrivals = workloads.OpenLoop(wire, recorder, load.rate, load.tokens, load.seed)
            return await arrivals.run(load.warmup_s, load.seconds, load.requests_max, fill=load.fill)
        if load.mode == "cancel":
            return await workloads.Cancelling(wire, recorder, load.callers, load.seed).run(load.count)
        return await workloads.LongPrompt(wire, recorder, load.callers, load.seed).run(load.count)
    finally:
        await wire.close()


async def _streams(load: Load, recorder: Recorder, kind: StreamKind) -> Json:
    """Runs a load of bidirectional streams."""
    wire = (
        GrpcStreams(load.address, load.connections, kind.method)
        if load.client == "grpc"
        else await wires.connect_http2(load.address, load.connections, kind.method)
    )
    try:
        trips = RoundTrips(wire, recorder, kind, load.callers, load.seed)
        return await trips.run(load.warmup_s, load.seconds, load.requests_max)
    finally:
        await wire.close()


def main(argv: Sequence[str]) -> None:
    """Runs from the command line; the flags are the fields of `Load`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks load", description="Call a server concurrently.")
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--address", required=True, metavar="HOST:PORT")
    parser.add_argument("--pid", type=int, help="process of the server, to report its processor time and memory")
    defaults = Load(mode="", address="")
    for name in ("callers", "tokens", "count", "requests_max", "connections", "seed"):
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=getattr(defaults, name), help="%(default)s")
    for name in ("seconds", "warmup_s", "rate"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    parser.add_argument("--fill", action="store_true", help="open: begin with a full queue")
    parser.add_argument("--in-sessions", action="store_true", help="closed: each request creates a session")
    parser.add_argument("--client", choices=wires.KINDS, default=defaults.client)
    load = Load(**vars(parser.parse_args(argv)))
    gc.freeze()  # objects that exist now are permanent: exclude them from garbage collection
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        print(json.dumps(runner.run(run(load))), flush=True)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Returns the event loop factory of uvloop if it is installed, otherwise None for that of asyncio."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
