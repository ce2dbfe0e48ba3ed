"""Compares float32, the int8 of seqserve, and ONNX Runtime's dynamic int8: bare model and server.

    python -m benchmarks precision [--cell gru] [--quick]

Measurements alternate, and ratios are taken within a round. Also counts the outputs and states whose bits depend on
the batch, on threads, or on how time is cut; the count has to be 0.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.baselines.bare_model import THREADS, BareModel, FloatArray
from benchmarks.harness import machine, model
from benchmarks.harness.servers import bench_servable, newest_version, start_server
from benchmarks.harness.targets import Target, format_table
from benchmarks.loadgen.load import Load
from benchmarks.loadgen.process import run_load
from benchmarks.loadgen.recording import Json

GRAPH = "model.onnx"
DYNAMIC = "dynamic"
CASES = ((1, 1), (8, 1), (64, 1), (64, 2))
"""Batch sizes and threads of steps."""
CALLERS = 64
BITS_BATCH, BITS_STEPS = 128, 12
PARTS = (1, 2, 3, 5, 16, 64, BITS_BATCH)
CUTS = ((1,) * BITS_STEPS, (5, 7), (1, 10, 1))


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how long to measure.

    Attributes:
        rounds: Rounds of the bare model.
        seconds: Seconds per step measurement.
        served_rounds: Rounds of the server.
        served_s: Seconds per load on a server.
    """

    rounds: int
    seconds: float
    served_rounds: int
    served_s: float


FULL = Plan(rounds=7, seconds=0.4, served_rounds=3, served_s=4.0)
QUICK = Plan(rounds=1, seconds=0.1, served_rounds=1, served_s=1.0)


def targets_of(cell: str) -> tuple[Target, ...]:
    """Returns the targets of a cell."""
    at_64 = {"lstm": 0.40, "gru": 0.33}[cell]
    of_dynamic = (
        Target("int8_over_dynamic_step_64_threads_2", "int8 over ONNX Runtime's: batch 64, 2 threads", None, 0.7),
        Target("dynamic_bits_that_differ", "the same count in ONNX Runtime's"),
    )
    return (
        Target("int8_over_fp32_step_64", "int8 over fp32: a step of the bare model, batch 64, 1 thread", None, at_64),
        Target("int8_over_fp32_step_8", "the same at batch 8"),
        Target("int8_over_fp32_step_1", "the same at batch 1", None, 0.65),
        Target("int8_bits_that_differ", "numbers whose bits depend on batch, threads or cuts", None, 0),
        *(of_dynamic if cell == "lstm" else ()),
        Target("int8_size_over_fp32", "int8 over fp32: size of the graph", None, 0.3),
        Target("int8_served_over_fp32_64", "int8 over fp32: tokens/s served to 64 callers", 1.6),
    )


def measure(spec: model.ModelSpec, plain: Path, plan: Plan) -> Json:
    """Measures the figures of `targets_of`. Args: plain: Folder of the benchmarks' servable in float32."""
    with tempfile.TemporaryDirectory(prefix="seqserve-int8-") as folder:
        model.build(Path(folder), replace(spec, precision=model.INT8))
        ours = newest_version(Path(folder))
        graphs = {model.FP32: plain / GRAPH, model.INT8: ours / GRAPH}
        of_dynamic: Json = {}
        if spec.cell == "lstm":  # it leaves GRUs in float32
            graphs[DYNAMIC] = quantize_dynamically(plain / GRAPH, Path(folder) / "dynamic.onnx")
            of_dynamic["dynamic_bits_that_differ"] = float(count_differing_bits(plain, graphs[DYNAMIC]))
        return of_dynamic | {
            "int8_size_over_fp32": graphs[model.INT8].stat().st_size / graphs[model.FP32].stat().st_size,
            "int8_bits_that_differ": float(count_differing_bits(ours)),
            **_steps(plain, graphs, plan),
            "int8_served_over_fp32_64": _served(plain, ours, plan),
        }


def count_differing_bits(servable: Path, graph: Path | None = None) -> int:
    """Counts the numbers that differ between parts of a batch, one thread and two, or cuts in time.

    Args:
        servable: Folder of the servable.
        graph: A graph to run in place of the servable's.
    """
    bare = [BareModel(servable, threads, spin=False, graph=graph) for threads in THREADS]
    manifest, generator = bare[0].manifest, np.random.default_rng(model.SEED)
    tokens = generator.integers(0, manifest.vocabulary.size, (BITS_STEPS, BITS_BATCH), dtype=np.int32)
    shapes = [(spec.directions, BITS_BATCH, spec.size) for spec in manifest.states]
    states = [generator.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]
    whole, ends = bare[0].run(tokens, states)
    differ = 0
    for runner in bare:
        for count in PARTS:
            for begin in {0, BITS_BATCH // 2 - count // 2, BITS_BATCH - count}:
                rows = slice(begin, begin + count)
                logits, finals = runner.run(np.ascontiguousarray(tokens[:, rows]), [state[:, rows] for state in states])
                differ += _differences([logits, *finals], [each[:, rows] for each in (whole, *ends)])
        for cuts in CUTS:
            carried, begin, pieces = states, 0, list[FloatArray]()
            for steps in cuts:
                logits, carried = runner.run(tokens[begin : begin + steps], carried)
                pieces.append(logits)
                begin += steps
            differ += _differences([np.concatenate(pieces), *carried], [whole, *ends])
    return differ


def _differences(actual: Sequence[FloatArray], expected: Sequence[FloatArray]) -> int:
    """Counts the numbers whose bits differ."""
    return sum(int((a.view(np.int32) != b.view(np.int32)).sum()) for a, b in zip(actual, expected, strict=True))


def quantize_dynamically(graph: Path, out: Path) -> Path:
    """Quantizes a graph with ONNX Runtime. Its recommended preprocessing is not necessary for these graphs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # imports onnx, which only this needs

    quantize_dynamic(graph, out, op_types_to_quantize=["LSTM", "MatMul"], weight_type=QuantType.QInt8)
    return out


def _steps(servable: Path, graphs: Mapping[str, Path], plan: Plan) -> Json:
    """Measures microseconds per step by graph, batch and threads, and the ratios."""
    bare = {
        (kind, threads): BareModel(servable, threads, spin=threads > 1, graph=graph)
        for kind, graph in graphs.items()
        for threads in THREADS
    }
    measured: dict[str, list[float]] = {}
    for _ in range(plan.rounds):
        for batch, threads in CASES:
            step_us = {kind: bare[kind, threads].measure(batch, plan.seconds).step_us for kind in graphs}
            case = f"step_{batch}" + ("" if threads == 1 else f"_threads_{threads}")
            for kind, value in step_us.items():
                measured.setdefault(f"{kind}_{case}_us", []).append(value)
                if kind != model.INT8:
                    measured.setdefault(f"int8_over_{kind}_{case}", []).append(step_us[model.INT8] / value)
    return {name: statistics.median(values) for name, values in measured.items()}


def _served(plain: Path, ours: Path, plan: Plan) -> float:
    """Measures tokens per second served in int8 relative to float32."""
    ratios: list[float] = []
    with start_server("seqserve", plain.parents[1]) as first, start_server("seqserve", ours.parents[1]) as second:
        for _ in range(plan.served_rounds):
            tokens_s: list[float] = []
            for process in (first, second):
                load = Load("closed", process.address, pid=process.pid, seconds=plan.served_s, callers=CALLERS)
                tokens_s.append(run_load(load)["tokens_s"])
            print(f"served: fp32 {tokens_s[0]:.0f}, int8 {tokens_s[1]:.0f} tokens/s", file=sys.stderr, flush=True)
            ratios.append(tokens_s[1] / tokens_s[0])
    return statistics.median(ratios)


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks precision", description="Compare precisions.")
    parser.add_argument("--quick", action="store_true", help="one round, shorter")
    parser.add_argument("--models", type=Path, help="model repository that `python -m benchmarks model --out` wrote")
    model.add_arguments(parser)
    arguments = parser.parse_args(argv)
    spec = replace(model.spec_of(arguments), precision=model.FP32)
    with bench_servable(spec, arguments.models) as plain:
        figures = measure(spec, plain, QUICK if arguments.quick else FULL)
    print(format_table(figures, targets_of(spec.cell)), file=sys.stderr)
    about = {"cell": spec.cell, "machine": machine.machine(), "versions": machine.versions(), "seed": model.SEED}
    print(json.dumps({"benchmark": "precision", **figures, **about}))
