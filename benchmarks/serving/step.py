"""The bare model over batch sizes and threads: a table, and a JSON line per combination.

python -m benchmarks step [--batches 1 2 4 8 16 32 64 128] [--seconds 1] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.baselines import bare_model
from benchmarks.baselines.bare_model import BareModelSpeed
from benchmarks.harness import machine, model
from benchmarks.harness.servers import bench_servable

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


def medians(repeats: list[list[BareModelSpeed]]) -> list[BareModelSpeed]:
    """Returns the repeat with the median step time for each batch size and number of threads."""
    return [sorted(same, key=lambda speed: speed.step_us)[(len(same) - 1) // 2] for same in zip(*repeats, strict=True)]


def format_table(speeds: list[BareModelSpeed]) -> str:
    """Formats step time, throughput and processor time, one line per combination."""
    lines = [f"{'batch':>5} {'threads':>7} {'us/step':>9} {'tokens/s':>9} {'cpu us/token':>12}"]
    lines += [
        f"{speed.batch:5} {speed.threads:7} {speed.step_us:9.0f} {speed.tokens_s:9.0f} {speed.cpu_us_per_token:12.1f}"
        for speed in speeds
    ]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks step", description="Step the bare model.")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="batch sizes (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of each measurement (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats, of which the median counts (%(default)s)")
    parser.add_argument("--models", type=Path, help="model repository that `python -m benchmarks model --out` wrote")
    model.add_arguments(parser)
    arguments = parser.parse_args(argv)
    with bench_servable(model.spec_of(arguments), arguments.models) as folder:
        repeats = [
            bare_model.measure_in_process(folder, arguments.batches, arguments.seconds)
            for _ in range(arguments.repeats)
        ]
    speeds = medians(repeats)
    print(format_table(speeds), file=sys.stderr)
    about = {"machine": machine.machine(), "versions": machine.versions(), "seed": model.SEED}
    for speed in speeds:
        print(json.dumps({"benchmark": "step", **asdict(speed), **about}))
