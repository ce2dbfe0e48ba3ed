"""The measurements of the suite, ordered so that both sides of a ratio run under the same conditions.

The speed of a machine drifts. Compared measurements therefore alternate, round by round, and ratios are taken within a
round.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.baselines import bare_model
from benchmarks.baselines.bare_model import BareModelSpeed
from benchmarks.harness import machine, model
from benchmarks.harness.processes import ServerProcess
from benchmarks.harness.servers import newest_version, start_server
from benchmarks.loadgen.load import Load
from benchmarks.loadgen.process import run_load
from benchmarks.loadgen.recording import Json
from benchmarks.loadgen.stream_messages import STREAMS
from benchmarks.serving import tagging
from benchmarks.serving.tagging import Whole

BARE_MODEL = "bare model"
CLOSED = "closed"
GRPC_AIO = "closed, grpc.aio callers"
NAIVE = "naive"
PAUSE = "pause"
PEAK = "peak"
OFFERED = "offered"
CANCEL = "cancel"
ECHO_STREAM = "streams, echo"
NAIVE_STREAM = "streams, naive"
STREAM = "streams"
ECHO_STREAM_GRPC = "streams, echo, grpc.aio callers"
STREAM_GRPC = "streams, grpc.aio callers"
WHOLE = "whole sentences"

OVERLOAD = 3.0
"""Offered load during overload, relative to the capacity."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often to measure.

    Attributes:
        rounds: Rounds of the alternating measurements.
        bare_model_s: Seconds per batch size and number of threads of the bare model.
        closed_s: Seconds of a closed loop.
        loads: Offered loads relative to the capacity.
        offered_s: Seconds per offered load.
        overload_s: Seconds of overload.
        long_prompts: Number of long prompts.
        cancels: Number of cancelled calls.
        stream_s: Seconds per kind of stream.
        tag_s: Seconds of whole sentences.
        tag_sentences: Number of sentences; 0 for all.
        warmup_s: Seconds of warm-up.
        tokens: Tokens per request.
        requests: Ends closed and open loops after this number of requests, for tests; 0 for no such end.
    """

    rounds: int
    bare_model_s: float
    closed_s: float
    loads: tuple[float, ...]
    offered_s: float
    overload_s: float
    long_prompts: int
    cancels: int
    stream_s: float
    tag_s: float
    tag_sentences: int
    warmup_s: float = 1.0
    tokens: int = 200
    requests: int = 0


FULL = Plan(
    rounds=5,
    bare_model_s=1.0,
    closed_s=6.0,
    loads=(0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0),
    offered_s=6.0,
    overload_s=20.0,
    long_prompts=7,
    cancels=10_000,
    stream_s=4.0,
    tag_s=4.0,
    tag_sentences=0,
)
QUICK = Plan(
    rounds=1,
    bare_model_s=0.4,
    closed_s=1.5,
    loads=(0.5, 0.9),
    offered_s=1.5,
    overload_s=3.0,
    long_prompts=2,
    cancels=300,
    stream_s=0.5,
    tag_s=1.0,
    tag_sentences=96,
    warmup_s=0.7,
)
"""Everything once, in the two minutes of ``make bench-quick``; half of that is start and warm-up of servers."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of alternating measurements.

    Attributes:
        bare_model: Speeds of the bare model.
        served: Closed loops by number of callers.
        served_grpc: The closed loop of 64 callers with grpc.aio.
        naive: The closed loop of 64 callers on the naive server.
    """

    bare_model: list[BareModelSpeed]
    served: dict[int, Json]
    served_grpc: Json
    naive: Json


@dataclass(frozen=True, slots=True)
class StreamRound:
    """One round of streams with one token per message; each field by kind of stream, "tag" and "score".

    Attributes:
        echo: The bare echo.
        served: The server.
        naive: The naive server.
        echo_grpc: The bare echo with grpc.aio callers.
        served_grpc: The server with grpc.aio callers.
    """

    echo: dict[str, Json] = field(default_factory=dict[str, Json])
    served: dict[str, Json] = field(default_factory=dict[str, Json])
    naive: dict[str, Json] = field(default_factory=dict[str, Json])
    echo_grpc: dict[str, Json] = field(default_factory=dict[str, Json])
    served_grpc: dict[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class Results:
    """All measurements.

    Attributes:
        rounds: Rounds of Generate.
        streams: Rounds of streams.
        wholes: Rounds of whole sentences.
        pauses: Long prompts among running streams.
        offered: Open loops by share of the capacity, which the preceding closed loop measures.
        cancelled: Cancelled calls.
    """

    rounds: list[Round]
    streams: list[StreamRound]
    wholes: list[Whole]
    pauses: Json
    offered: dict[float, Json]
    cancelled: Json


class Suite:
    """Runs a plan with one servable."""

    def __init__(self, plan: Plan, servable: Path, lines: Path) -> None:
        """Args: lines: File for one JSON line per measurement; an existing file is replaced."""
        self._plan = plan
        self._servable = servable
        self._models = servable.parents[1]
        self._lines = lines
        self._start_s = time.monotonic()
        self._about = {"machine": machine.machine(), "versions": machine.versions(), "seed": model.SEED}
        lines.parent.mkdir(parents=True, exist_ok=True)
        lines.write_text("", encoding="utf-8")

    def run(self) -> Results:
        """Runs all measurements."""
        with start_server("seqserve", self._models) as ours:
            with start_server("naive", self._models) as naive:
                rounds = [self._round(index, ours, naive) for index in range(self._plan.rounds)]
                with start_server("naive-tagger", self._models) as tagger, start_server("echo", self._models) as echo:
                    naives = {"tag": tagger, "score": naive}
                    streams = [self._stream_round(ours, naives, echo) for _ in range(self._plan.rounds)]
            wholes = [self._whole(ours) for _ in range(self._plan.rounds)]
            pauses = self._load(PAUSE, ours, mode="pause", callers=32, count=self._plan.long_prompts)
            offered = {share: self._offered(ours, share) for share in (*self._plan.loads, OVERLOAD)}
            cancelled = self._load(CANCEL, ours, mode="cancel", count=self._plan.cancels)
        return Results(rounds, streams, wholes, pauses, offered, cancelled)

    def _round(self, index: int, ours: ServerProcess, naive: ServerProcess) -> Round:
        speeds = bare_model.measure_in_process(self._servable, [1, 64], self._plan.bare_model_s)
        for speed in speeds:
            self._note(
                {"measurement": BARE_MODEL, "round": index, **asdict(speed)},
                f"{BARE_MODEL} {speed.batch}",
                speed.tokens_s,
            )
        served = {callers: self._load(CLOSED, ours, callers=callers) for callers in (1, 64, 256)}
        served_grpc = self._load(GRPC_AIO, ours, client="grpc")
        return Round(speeds, served, served_grpc, self._load(NAIVE, naive))

    def _stream_round(
        self, ours: ServerProcess, naives: Mapping[str, ServerProcess], echo: ServerProcess
    ) -> StreamRound:
        result = StreamRound()
        for mode in STREAMS:
            turn: dict[str, object] = {"mode": mode, "seconds": self._plan.stream_s}
            turn["warmup_s"] = min(self._plan.warmup_s, self._plan.stream_s)
            result.echo[mode] = self._load(ECHO_STREAM, echo, **turn)
            result.served[mode] = self._load(STREAM, ours, **turn)
            result.naive[mode] = self._load(NAIVE_STREAM, naives[mode], **turn)
            result.echo_grpc[mode] = self._load(ECHO_STREAM_GRPC, echo, client="grpc", **turn)
            result.served_grpc[mode] = self._load(STREAM_GRPC, ours, client="grpc", **turn)
        return result

    def _whole(self, ours: ServerProcess) -> Whole:
        tagger = newest_version(self._models, model.TAGGER)
        whole = tagging.measure(ours.address, tagger, self._plan.tag_sentences, self._plan.tag_s)
        self._note({"measurement": WHOLE, **asdict(whole)}, WHOLE, whole.served, "sentences/s")
        return whole

    def _offered(self, ours: ServerProcess, share: float) -> Json:
        """Runs Poisson arrivals at a share of the throughput of a closed loop that runs just before."""
        plan = self._plan
        overload = share == OVERLOAD
        seconds = plan.overload_s if overload else plan.offered_s
        peak: float = self._load(PEAK, ours, callers=256, seconds=plan.offered_s)["tokens_s"]
        rate = share * peak / plan.tokens
        result = self._load(OFFERED, ours, mode="open", rate=rate, seconds=seconds, fill=overload)
        return result | {"share": share, "peak_tokens_s": peak}

    def _load(self, name: str, process: ServerProcess, **changes: object) -> Json:
        plan = self._plan
        load = Load(
            mode="closed",
            address=process.address,
            pid=process.pid,
            seconds=plan.closed_s,
            warmup_s=plan.warmup_s,
            tokens=plan.tokens,
            requests_max=plan.requests,
        )
        load = replace(load, **changes)  # type: ignore[arg-type]  # the names are those of Load's fields
        result = run_load(load)
        self._note({"measurement": name, **result}, f"{name} {load.mode} {load.callers}", result["tokens_s"])
        return result

    def _note(self, measurement: Json, title: str, rate: float, unit: str = "tokens/s") -> None:
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(measurement | self._about) + "\n")
        elapsed_s = time.monotonic() - self._start_s
        print(f"{elapsed_s:6.0f} s  {title:28} {rate:9.0f} {unit}", file=sys.stderr, flush=True)
