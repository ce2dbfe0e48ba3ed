"""The suite: all figures of the server in one run; ``make bench``, or ``make bench-quick`` in under two minutes.

Prints a table, and one JSON object on the last line. Writes every single measurement as a line of
build/bench/measurements.jsonl, and a picture of the offered load to build/bench/load.png.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import machine, model
from benchmarks.harness.servers import OUTPUT, bench_servable
from benchmarks.harness.targets import format_table
from benchmarks.loadgen.recording import Json
from benchmarks.serving import figures, precision
from benchmarks.serving.suite import FULL, QUICK, Suite


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks suite", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything once and shorter, in under two minutes")
    parser.add_argument("--models", type=Path, help="model repository that `python -m benchmarks model --out` wrote")
    model.add_arguments(parser)
    arguments = parser.parse_args(argv)
    spec = model.spec_of(arguments)
    with bench_servable(spec, arguments.models) as folder:
        suite = Suite(QUICK if arguments.quick else FULL, folder, OUTPUT / "measurements.jsonl")
        results = suite.run()
        in_int8 = precision.measure(spec, folder, precision.QUICK if arguments.quick else precision.FULL)
    reached: Json = figures.compute_figures(results) | in_int8
    if importlib.util.find_spec("matplotlib") is None:
        print("no picture: matplotlib is not installed (dependency group bench)", file=sys.stderr)
    else:
        from benchmarks.serving import plot

        plot.draw(results.offered, OUTPUT / "load.png")
        print(f"wrote {OUTPUT / 'load.png'}", file=sys.stderr)
    print(format_table(reached, (*figures.TARGETS, *precision.targets_of(spec.cell))))
    about = {"quick": arguments.quick, "machine": machine.machine(), "versions": machine.versions(), "seed": model.SEED}
    last = json.dumps(reached | about)
    (OUTPUT / "result.json").write_text(last + "\n", encoding="utf-8")
    print(last)
