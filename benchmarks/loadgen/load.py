"""The load generator: a process of its own that calls a server and prints one JSON line.

python -m benchmarks load closed --address HOST:PORT --callers 64 --seconds 5
python -m benchmarks load open --address HOST:PORT --rate 150 --seconds 5      Poisson arrivals, requests a second
python -m benchmarks load cancel --address HOST:PORT --callers 64 --count 10000
python -m benchmarks load pause --address HOST:PORT --callers 32 --count 5     a long prompt among running streams
python -m benchmarks load tag --address HOST:PORT --callers 64 --seconds 5     open streams, a token a message each way
python -m benchmarks load score --address HOST:PORT --callers 64 --seconds 5   the same of scores

It runs on the server's own cores, so what it uses it takes from the server. Processor time a message, in us
(64 callers, a model so small that messages dominate, 2 cores that others used too, two rounds; connections in
brackets):

    grpc, a thread a caller   (1) 120 151   (4) 118 170
    grpc.aio                  (1) 106 112   (4) 151 126   (8) 103 103
    grpc.aio on uvloop                      (4) 127  91
    HTTP/2 by hand            (1)  46  53   (4)  61  55   (8)  62  61   (64) 73 64
    HTTP/2 by hand on uvloop                (4)  28  24

So it speaks HTTP/2 by hand, on uvloop where that is installed; `--client grpc` measures with grpc.aio, for comparison.
Four connections: callers rarely share one, and a connection each would cost both sides a little more.
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
    """What to do to a server.

    address: HOST:PORT. pid: process to read processor time and memory of. seconds: measured, after ``warmup_s``. tokens:
    a request. rate: arrivals a second (open). fill: begin with a full line (open). in_sessions: each request leaves its
    state in a session of its own (closed). count: cancelled calls (cancel), long prompts (pause). limit: end after this
    many requests, whatever the time (closed, open), or round trips (tag, score); 0: no such end. client: one of
    callers.KINDS.
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
    """Do it."""
    recorder = Recorder(load.pid)
    kind = STREAMS.get(load.mode)
    result = await (_calls(load, recorder) if kind is None else _streams(load, recorder, kind))
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    given = {"mode": load.mode, "client": load.client, "loop": loop, "connections": load.connections, "seed": load.seed}
    return given | {"callers": load.callers, "rate": load.rate} | result


async def _calls(load: Load, recorder: Recorder) -> Json:
    """Calls of Generate."""
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
    """Streams that both sides feed."""
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
    """The command line; its flags are the fields of `Load`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks load", description="Call a server, many times at once.")
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--address", required=True, metavar="HOST:PORT")
    parser.add_argument("--pid", type=int, help="the server's process: its processor time and memory are reported")
    defaults = Load(mode="", address="")
    for name in ("callers", "tokens", "count", "requests_max", "connections", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name), help="%(default)s")
    for name in ("seconds", "warmup_s", "rate"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    parser.add_argument("--fill", action="store_true", help="open: begin with a full line")
    parser.add_argument("--in-sessions", action="store_true", help="closed: each request leaves a session")
    parser.add_argument("--client", choices=wires.KINDS, default=defaults.client)
    load = Load(**vars(parser.parse_args(argv)))
    gc.freeze()  # what is there now stays: do not look through it again and again
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        print(json.dumps(runner.run(run(load))), flush=True)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop of uvloop if it is installed; None for asyncio's own."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
