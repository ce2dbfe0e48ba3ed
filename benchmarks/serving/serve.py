"""One load on one server: a server process and a load generator process on the same machine.

    python -m benchmarks serve --callers 64 --seconds 5
    python -m benchmarks serve --callers 64 --server naive
    SEQSERVE_BATCH__SIZE_MAX=128 python -m benchmarks serve --callers 256

Prints the speed of the bare model at that time, the served load, and their ratio; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.baselines import bare_model
from benchmarks.harness import model
from benchmarks.harness.servers import SERVERS, bench_servable, start_server
from benchmarks.loadgen import wires
from benchmarks.loadgen.load import MODES, Load
from benchmarks.loadgen.process import run_load


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks serve", description="Measure a server.")
    parser.add_argument("--mode", choices=MODES, default="closed")
    parser.add_argument("--server", choices=SERVERS, default="seqserve")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=100.0, help="arrivals per second, for --mode open (%(default)s)")
    parser.add_argument("--fill", action="store_true", help="for --mode open: begin with a full queue")
    parser.add_argument("--count", type=int, default=10, help="for --mode cancel and pause (%(default)s)")
    parser.add_argument("--client", choices=wires.KINDS, default=Load("", "").client)
    parser.add_argument("--connections", type=int, default=Load("", "").connections)
    parser.add_argument("--models", type=Path, help="model repository that `python -m benchmarks model --out` wrote")
    model.add_arguments(parser)
    arguments = parser.parse_args(argv)
    with bench_servable(model.spec_of(arguments), arguments.models) as folder:
        batch = min(arguments.callers, 64)
        speeds = bare_model.measure_in_process(folder, [batch], 1.0)
        with start_server(arguments.server, folder.parents[1]) as process:
            names = ("mode", "callers", "seconds", "rate", "fill", "count", "client", "connections")
            options = {name: getattr(arguments, name) for name in names}
            result = run_load(Load(address=process.address, pid=process.pid, **options))
    best, bare = bare_model.fastest(speeds, batch), bare_model.of_threads(speeds, batch, 1)
    result["bare_model"] = [asdict(each) for each in speeds]
    result["served_over_bare_model"] = result["tokens_s"] / best.tokens_s
    result["cpu_over_bare_model"] = result["server"]["cpu_us_per_token"] / best.cpu_us_per_token
    result["python_us_per_token"] = result["server"]["cpu_us_per_token"] - bare.cpu_us_per_token
    print(json.dumps(result, indent=2), file=sys.stderr)
    print(json.dumps(result))
