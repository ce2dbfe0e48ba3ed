"""The suite: all figures of the server in one run; ``make bench``, or ``make bench-quick`` in under two minutes.

Ends with a table, and with one JSON object on the last line; every single measurement is a line of
build/bench/measurements.jsonl, and the picture of the offered load is build/bench/load.png.
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
    """Measure everything, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks suite", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything once and shorter: under two minutes")
    parser.add_argument("--models", type=Path, help="reuse what `python -m benchmarks model --out` wrote")
    model.add_arguments(parser)
    arguments = parser.parse_args(argv)
    spec = model.spec_of(arguments)
    with bench_servable(spec, arguments.models) as folder:
        suite = Suite(QUICK if arguments.quick else FULL, folder, OUTPUT / "measurements.jsonl")
        results = suite.run()
        in_int8 = precision.measure(spec, folder, precision.QUICK if arguments.quick else precision.FULL)
    found: Json = figures.compute_figures(results) | in_int8
    if importlib.util.find_spec("matplotlib") is None:
        print("no picture: matplotlib is not installed (dependency group bench)", file=sys.stderr)
    else:
        from benchmarks.serving import plot

        plot.draw(results.offered, OUTPUT / "load.png")
        print(f"wrote {OUTPUT / 'load.png'}", file=sys.stderr)
    print(format_table(found, (*figures.TARGETS, *precision.targets_of(spec.cell))))
    about = {"quick": arguments.quick, "machine": machine.machine(), "versions": machine.versions(), "seed": model.SEED}
    last = json.dumps(found | about)
    (OUTPUT / "result.json").write_text(last + "\n", encoding="utf-8")
    print(last)
