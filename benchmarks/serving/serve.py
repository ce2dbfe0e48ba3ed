"""The model through the wire: a server process, and a load generator process on the same machine.

    python -m benchmarks serve --callers 64 --seconds 5
    python -m benchmarks serve --callers 64 --server naive
    SEQSERVE_BATCH__SIZE_MAX=128 python -m benchmarks serve --callers 256

Prints the in-process limit of the same minute, what was served, and the one over the other; the last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.baselines import bare_model
from benchmarks.harness import model
from benchmarks.harness.processes import ServerProcess, running
from benchmarks.loadgen import wires
from benchmarks.loadgen.load import MODES, Load
from benchmarks.loadgen.recording import Json

OUTPUT = Path("build/bench")
SERVERS = ("seqserve", "naive", "naive-tagger", "echo")


@contextlib.contextmanager
def server(kind: str, models: Path, settings: Mapping[str, str] | None = None) -> Iterator[ServerProcess]:
    """A server of one of the SERVERS on a free port; SEQSERVE_* variables and ``settings``, more of them, reach it."""
    log = OUTPUT / f"{kind}.log"
    if kind == "echo":
        with running("benchmarks", ["echo"], log) as process:
            yield process
    elif kind.startswith("naive"):
        servable = newest(models, model.TAGGER if kind == "naive-tagger" else model.NAME)
        with running("benchmarks", ["naive", str(servable)], log) as process:
            yield process
    else:
        arguments = ["--models", str(models), "--listen", "127.0.0.1:0", "--log-level", "warning"]
        with running("seqserve.server", arguments, log, {"SEQSERVE_DRAIN_S": "0", **(settings or {})}) as process:
            yield process


def apply(load: Load) -> Json:
    """Run the load generator in a process of its own. Raises: CalledProcessError if it fails."""
    given = {name.replace("_", "-"): value for name, value in asdict(load).items() if value is not None}
    flags = [f"--{name}={value}" for name, value in given.items() if name not in ("mode", "fill", "in-sessions")]
    flags += ["--fill"] * load.fill + ["--in-sessions"] * load.in_sessions
    command = [sys.executable, "-m", "benchmarks", "load", load.mode, *flags]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: Json = json.loads(done.stdout)
    return result


@contextlib.contextmanager
def servable(spec: model.ModelSpec, given: Path | None = None) -> Iterator[Path]:
    """The folder of the benchmarks' language model, in a repository of its own; ``given`` if there is one already."""
    if given is not None:
        yield newest(given)
        return
    with tempfile.TemporaryDirectory(prefix="seqserve-bench-") as folder:
        model.build(Path(folder), spec)
        yield newest(Path(folder))


def newest(models: Path, name: str = model.NAME) -> Path:
    """The newest version of a model of the benchmarks, the language model unless said, in a model repository."""
    return max((models / name).iterdir(), key=lambda version: int(version.name))


def main(argv: Sequence[str]) -> None:
    """One measurement, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks serve", description="Measure a server.")
    parser.add_argument("--mode", choices=MODES, default="closed")
    parser.add_argument("--server", choices=SERVERS, default="seqserve")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=100.0, help="arrivals a second, for --mode open (%(default)s)")
    parser.add_argument("--fill", action="store_true", help="for --mode open: begin with a full line")
    parser.add_argument("--count", type=int, default=10, help="for --mode cancel and pause (%(default)s)")
    parser.add_argument("--client", choices=wires.KINDS, default=Load("", "").client)
    parser.add_argument("--connections", type=int, default=Load("", "").connections)
    parser.add_argument("--models", type=Path, help="reuse what `python -m benchmarks model --out` wrote")
    model.add_arguments(parser)
    arguments = parser.parse_args(argv)
    with servable(model.spec_of(arguments), arguments.models) as folder:
        batch = min(arguments.callers, 64)
        speeds = bare_model.measure_apart(folder, [batch], 1.0)
        with server(arguments.server, folder.parents[1]) as process:
            names = ("mode", "callers", "seconds", "rate", "fill", "count", "client", "connections")
            given = {name: getattr(arguments, name) for name in names}
            result = apply(Load(address=process.address, pid=process.pid, **given))
    best, bare = bare_model.fastest(speeds, batch), bare_model.of_threads(speeds, batch, 1)
    result["bare_model"] = [asdict(each) for each in speeds]
    result["served_over_bare_model"] = result["tokens_s"] / best.tokens_s
    result["cpu_over_bare_model"] = result["server"]["cpu_us_per_token"] / best.cpu_us_per_token
    result["python_us_per_token"] = result["server"]["cpu_us_per_token"] - bare.cpu_us_per_token
    print(json.dumps(result, indent=2), file=sys.stderr)
    print(json.dumps(result))
