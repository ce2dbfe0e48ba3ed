"""Recurrent cells: error of torch and ONNX Runtime, and time of a step; writes the tables of docs/cells.md.

    python -m benchmarks cells

Errors: two layers of 32 units in both directions, 16 rows of up to 33 steps, weights uniform within 1/sqrt(32), against
NumPy in float64; the maximum of three seeds. Times: one layer of 256 units over 4 steps, one thread, fastest run.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from seqserve.training.arrays import Array
from seqserve.training.config import CellKind
from seqserve.training.export.graph import IR_VERSION, OPSET
from seqserve.training.export.operators import OPERATORS
from seqserve.training.layers import STATE_KINDS
from seqserve.training.runner import GraphRunner
from tests.training.stacks import a_stack

PAGE = Path(__file__).parents[2] / "docs" / "cells.md"
FORMULAS = {
    CellKind.RNN: "h' = tanh(W x + R h + b)",
    CellKind.RNN_RELU: "h' = max(W x + R h + b, 0)",
    CellKind.LSTM: "i, f, o = s(W x + R h + b), g = tanh(W x + R h + b); c' = f c + i g; h' = o tanh(c')",
    CellKind.LSTM_PEEPHOLE: "LSTM; i and f also see p c, o also sees p c'",
    CellKind.LSTM_COUPLED: "LSTM with f = 1 - i",
    CellKind.GRU: "r, z = s(W x + R h + b); n = tanh(W x + b + r (R h + b)); h' = z h + (1 - z) n",
    CellKind.GRU_RESET_BEFORE: "GRU with n = tanh(W x + R (r h) + b)",
    CellKind.GRU_UPDATE_ONLY: "GRU with r = 1",
    CellKind.MGU: "f = s(W x + R h + b); n = tanh(W x + R (f h) + b); h' = (1 - f) h + f n",
    CellKind.SRU: "f, r = s(W x + v c + b); c' = f c + (1 - f) (W x + b); h' = r c' + (1 - r) (W x + b)",
    CellKind.LEAKY: "h' = a h + (1 - a) tanh(W x + R h + b)",
}
OPERATOR_FOR: dict[CellKind, tuple[str, dict[str, Any]]] = {  # the operator that computes the same as the Scan
    CellKind.RNN: ("RNN", {}),
    CellKind.RNN_RELU: ("RNN", {"activations": ["Relu"]}),
    CellKind.GRU_UPDATE_ONLY: ("GRU", {"linear_before_reset": 1}),
    CellKind.MGU: ("GRU", {"linear_before_reset": 0}),
    CellKind.LEAKY: ("GRU", {"linear_before_reset": 0}),
}
SEEDS, STEPS, ROWS, UNITS = 3, 33, 16, 32
TIMED_STEPS, TIMED_UNITS, TIMED_INPUTS = 4, 256, 32
BATCHES = (1, 16, 64)
RUNS = 150


def errors(cell: CellKind) -> tuple[float, float]:
    """Returns the maximum absolute error of outputs and states, of torch and of ONNX Runtime."""
    worst = np.zeros(2)
    for seed in range(SEEDS):
        for bidirectional in (False, True):
            stack = a_stack(
                cell, hidden_size=UNITS, layers=2, bidirectional=bidirectional, seed=seed, scale=UNITS**-0.5
            )
            generator = np.random.default_rng(seed)
            x = generator.uniform(-1, 1, (STEPS, ROWS, 5)).astype(np.float32)
            lengths = generator.integers(1, STEPS + 1, ROWS).astype(np.int32)
            states = stack.initial(ROWS) if bidirectional else stack.states(ROWS, generator)
            y, finals = stack.in_numpy(x, lengths, states)
            for which, run in enumerate((stack.in_torch, stack.in_onnx)):
                outputs, last = run(x, lengths, states)
                differences = [np.abs(outputs - y).max(), *(np.abs(last[name] - finals[name]).max() for name in last)]
                worst[which] = max(worst[which], *differences)
    return float(worst[0]), float(worst[1])


def step_us(graph: GraphRunner, states: Sequence[str], batch: int) -> float:
    """Measures the duration of a step, in microseconds."""
    generator = np.random.default_rng(0)
    feed: dict[str, Array] = {
        "tokens": generator.uniform(-1, 1, (TIMED_STEPS, batch, TIMED_INPUTS)).astype(np.float32),
        "lengths": np.full(batch, TIMED_STEPS, np.int32),
    }
    feed |= {name: np.zeros((1, batch, TIMED_UNITS), np.float32) for name in states}
    durations_s = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        graph(feed)
        durations_s.append(time.perf_counter() - begin)
    return min(durations_s) / TIMED_STEPS * 1e6


def operator_graph(operator: str, attributes: dict[str, Any]) -> GraphRunner:
    """Builds a graph of one operator with arbitrary weights, which do not affect its time."""
    gates = {"RNN": 1, "GRU": 3}[operator]
    shapes = {"W": (1, gates * TIMED_UNITS, TIMED_INPUTS), "R": (1, gates * TIMED_UNITS, TIMED_UNITS)}
    constants = [onnx.numpy_helper.from_array(np.full(shape, 1e-3, np.float32), name) for name, shape in shapes.items()]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node(
                operator, ["tokens", "W", "R", "", "lengths", "h0"], ["y", "h"], hidden_size=TIMED_UNITS, **attributes
            )
        ],
        operator,
        [
            value("tokens", TensorProto.FLOAT, ("T", "B", TIMED_INPUTS)),
            value("lengths", TensorProto.INT32, ("B",)),
            value("h0", TensorProto.FLOAT, (1, "B", TIMED_UNITS)),
        ],
        [value(name, TensorProto.FLOAT, None) for name in ("y", "h")],
        constants,
    )
    opset = helper.make_opsetid("", OPSET)
    return GraphRunner(helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION).SerializeToString())


def cells_table() -> str:
    """Formats the table of all cells."""
    rows = ["| cell | one step | in ONNX | state | torch | ONNX Runtime |", "|---|---|---|---|---|---|"]
    for cell in CellKind:
        of_torch, of_onnx = errors(cell)
        rows.append(f"{describe(cell)} {of_torch:.1e} | {of_onnx:.1e} |")
    return "\n".join(rows)


def describe(cell: CellKind) -> str:
    """Returns the part of a cell's row that needs no measurement."""
    form = f"{OPERATORS[cell].name}{attributes_of(cell)}" if cell in OPERATORS else "Scan"
    return f"| `{cell}` | {FORMULAS[cell]} | {form} | {', '.join(STATE_KINDS[cell])} |"


def attributes_of(cell: CellKind) -> str:
    """Formats the attributes of a cell's operator."""
    attributes = [f"{name}={value}" for name, value in OPERATORS[cell].attributes.items()]
    attributes += ["P"] if OPERATORS[cell].peepholes else []
    return f" ({', '.join(attributes)})" if attributes else ""


def times_table() -> str:
    """Formats the table of times."""
    rows = ["| cell | form | batch 1 | batch 16 | batch 64 |", "|---|---|---|---|---|"]
    for cell in CellKind:
        stack = a_stack(cell, input_size=TIMED_INPUTS, hidden_size=TIMED_UNITS, scale=TIMED_UNITS**-0.5)
        forms = {OPERATORS[cell].name if cell in OPERATORS else "Scan": stack.graph}
        if cell in OPERATOR_FOR:
            operator, attributes = OPERATOR_FOR[cell]
            forms[f"{operator} instead"] = operator_graph(operator, attributes)
        for form, graph in forms.items():
            states = ["h0"] if "instead" in form else [f"{kind}0" for kind in STATE_KINDS[cell]]
            times = [f"{step_us(graph, states, batch):.0f}" for batch in BATCHES]
            rows.append(f"| `{cell}` | {form} | {' | '.join(times)} |")
    return "\n".join(rows)


def replace_table(page: str, name: str, table: str) -> str:
    """Returns the page with a table between its marks."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, after = page[: page.index(begin)], page[page.index(end) :]
    return f"{before}{begin}\n{table}\n{after}"


def main(argv: Sequence[str]) -> None:
    """Measures, and writes the page."""
    argparse.ArgumentParser(prog="python -m benchmarks cells", description="Measure the cells.").parse_args(argv)
    page = PAGE.read_text(encoding="utf-8")
    page = replace_table(page, "cells", cells_table())
    page = replace_table(page, "times", times_table())
    PAGE.write_text(page, encoding="utf-8")
