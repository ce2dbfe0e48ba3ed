"""Float32, our int8, and ONNX Runtime's dynamic int8, side by side: the bare model, and what is served.

    python -m benchmarks.precision [--cell gru] [--rounds 7] [--seconds 0.4]

Times are taken in turns, and ratios within a round. Also counted: outputs and states whose bits depend on the batch, on
threads, or on how time is cut, which shall be none.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import machine, model
from benchmarks.figures import Goal, table
from benchmarks.limit import THREADS, BareModel, FloatArray
from benchmarks.load import Load
from benchmarks.recording import Json
from benchmarks.serve import apply, newest, server

DYNAMIC = "dynamic.onnx"
FP32, INT8 = "fp32", "int8"
BATCHES = (1, 8, 64)
CALLERS = 64
BITS_BATCH, BITS_STEPS = 128, 12
PARTS = (1, 2, 3, 5, 16, 64, BITS_BATCH)
CUTS = ((1,) * BITS_STEPS, (5, 7), (1, 10, 1))


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how long to measure; no seconds of serving: nothing is served."""

    rounds: int
    seconds: float
    served_s: float


def goals(cell: str) -> tuple[Goal, ...]:
    """The figures of a cell, and what they have to reach."""
    at_64 = {"lstm": 0.40, "gru": 0.33}[cell]
    over_dynamic = (
        [
            Goal(
                "int8_over_dynamic_step_64",
                "int8 over ONNX Runtime's dynamic int8: step, batch 64, 2 threads",
                None,
                0.7,
            )
        ]
        if cell == "lstm"  # it leaves GRUs in float32
        else []
    )
    return (
        Goal("int8_over_fp32_step_64", "int8 over fp32: a step of the bare model, batch 64, 1 thread", None, at_64),
        Goal("int8_over_fp32_step_8", "the same at batch 8"),
        Goal("int8_over_fp32_step_1", "the same at batch 1", None, 0.65),
        *over_dynamic,
        Goal("int8_bits_that_differ", "numbers whose bits depend on batch, threads or cuts", None, 0),
        Goal("int8_size_over_fp32", "int8 over fp32: size of the graph", None, 0.3),
        Goal("int8_served_over_fp32_64", "int8 over fp32: tokens/s served to 64 callers", 1.6),
    )


@contextlib.contextmanager
def servables(spec: model.ModelSpec) -> Iterator[dict[str, Path]]:
    """The same network in float32, with ONNX Runtime's dynamic int8 beside it, and in int8."""
    with contextlib.ExitStack() as stack:
        folders: dict[str, Path] = {}
        for precision in (FP32, INT8):
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"seqserve-{precision}-")))
            model.build(root, replace(spec, precision=precision))
            folders[precision] = newest(root)
        if spec.cell == "lstm":
            _dynamic(folders[FP32])
        yield folders


def measure(spec: model.ModelSpec, plan: Plan) -> Json:
    """The figures of ``goals``; None for what was not measured."""
    with servables(spec) as folders:
        sizes = {precision: (folder / "model.onnx").stat().st_size for precision, folder in folders.items()}
        found: Json = {
            "int8_size_over_fp32": sizes[INT8] / sizes[FP32],
            "int8_bits_that_differ": float(bits_that_differ(folders[INT8])),
            **_steps(folders, plan),
            "int8_served_over_fp32_64": _served(folders, plan) if plan.served_s else None,
        }
    return found


def bits_that_differ(servable: Path) -> int:
    """Numbers that are not the same for parts of a batch, for one thread or two, or for cuts in time."""
    generator = np.random.default_rng(model.SEED)
    differ, expected = 0, None
    for threads in THREADS:
        bare = BareModel(servable, threads, spin=False)
        size = bare.manifest.vocabulary.size
        if expected is None:
            tokens = generator.integers(0, size, (BITS_STEPS, BITS_BATCH), dtype=np.int32)
            states = [
                generator.uniform(-1, 1, (spec.directions, BITS_BATCH, spec.size)).astype(np.float32)
                for spec in bare.manifest.states
            ]
            expected = bare.run(tokens, states)
        for count in PARTS:
            for begin in {0, BITS_BATCH // 2 - count // 2, BITS_BATCH - count}:
                rows = slice(begin, begin + count)
                logits, finals = bare.run(np.ascontiguousarray(tokens[:, rows]), [state[:, rows] for state in states])
                differ += _differences(logits, expected[0][:, rows])
                differ += sum(_differences(a, b[:, rows]) for a, b in zip(finals, expected[1], strict=True))
        for cuts in CUTS:
            carried, begin, pieces = states, 0, list[FloatArray]()
            for steps in cuts:
                logits, carried = bare.run(tokens[begin : begin + steps], carried)
                pieces.append(logits)
                begin += steps
            differ += _differences(np.concatenate(pieces), expected[0])
            differ += sum(_differences(a, b) for a, b in zip(carried, expected[1], strict=True))
    return differ


def _differences(found: FloatArray, expected: FloatArray) -> int:
    return int((found.view(np.int32) != expected.view(np.int32)).sum())


def _dynamic(servable: Path) -> None:
    """ONNX Runtime's own int8 of a servable's graph, beside it."""
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # it recommends a preparation that our graphs do not need
    quantize_dynamic(
        servable / "model.onnx",
        servable / DYNAMIC,
        op_types_to_quantize=["LSTM", "MatMul"],
        weight_type=QuantType.QInt8,
    )


def _steps(folders: dict[str, Path], plan: Plan) -> Json:
    dynamic = (folders[FP32] / DYNAMIC).exists()
    kinds = [(FP32, "model.onnx"), (INT8, "model.onnx"), *([(FP32, DYNAMIC)] if dynamic else [])]
    cases = [(batch, 1) for batch in BATCHES] + [(64, 2)]
    models = {
        (kind, threads): BareModel(folders[kind[0]], threads, spin=threads > 1, graph=kind[1])
        for kind in kinds
        for threads in THREADS
    }
    found: Json = {}
    ratios: dict[str, list[float]] = {}
    for _ in range(plan.rounds):
        for batch, threads in cases:
            step_us = {kind: models[kind, threads].measure(batch, plan.seconds).step_us for kind in kinds}
            plain, ours, *others = (step_us[kind] for kind in kinds)
            if threads == 1:
                ratios.setdefault(f"int8_over_fp32_step_{batch}", []).append(ours / plain)
            if others and batch == 64:
                name = "int8_over_dynamic_step_64" + ("" if threads > 1 else "_one_thread")
                ratios.setdefault(name, []).append(ours / others[0])
            for kind, value in step_us.items():
                name = {FP32: "fp32", INT8: "int8"}[kind[0]] if kind[1] != DYNAMIC else "dynamic"
                found.setdefault(f"step_us_{name}_{batch}_threads_{threads}", []).append(value)
    return {name: statistics.median(values) for name, values in (found | ratios).items()}


def _served(folders: dict[str, Path], plan: Plan) -> float:
    with server("seqserve", folders[FP32].parents[1]) as plain, server("seqserve", folders[INT8].parents[1]) as ours:
        ratios: list[float] = []
        for _ in range(plan.rounds):
            tokens_s = [
                float(
                    apply(
                        Load(
                            mode="closed",
                            target=process.target,
                            pid=process.pid,
                            seconds=plan.served_s,
                            callers=CALLERS,
                        )
                    )["tokens_s"]
                )
                for process in (plain, ours)
            ]
            print(f"served: fp32 {tokens_s[0]:.0f}, int8 {tokens_s[1]:.0f} tokens/s", file=sys.stderr, flush=True)
            ratios.append(tokens_s[1] / tokens_s[0])
    return statistics.median(ratios)


def main() -> None:
    """Measure, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description="Compare precisions.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="each step time in each round (%(default)s)")
    parser.add_argument("--served-seconds", type=float, default=4.0, help="0: serve nothing (%(default)s)")
    model.add_arguments(parser)
    arguments = parser.parse_args()
    spec = model.spec_of(arguments)
    found = measure(spec, Plan(arguments.rounds, arguments.seconds, arguments.served_seconds))
    print(table(found, goals(spec.cell)), file=sys.stderr)
    about = {"cell": spec.cell, "machine": machine.machine(), "versions": machine.versions(), "seed": model.SEED}
    print(json.dumps({"benchmark": "precision", **found, **about}))


if __name__ == "__main__":
    main()
