"""The proof that int8 keeps its word: a row's bits depend neither on the rows beside it nor on how time is cut.

In float32 this holds for the operators and Scans themselves (tests/training/export/test_bits.py). The int8 scheme has
this property by construction, so it is proven for every exported int8 graph. The effect of rounding is measured
too: where a number lies near the border between two steps, the graph and the network in torch may round it either way.
"""

# pyright: reportUnknownMemberType=false
# torch's annotations leave the arguments of its random numbers open.

import copy
from collections.abc import Mapping

import numpy as np
import onnxruntime
import torch

from seqserve.training.arrays import Array
from seqserve.training.errors import ExportError
from seqserve.training.export.model import ExportedModel, TorchRunner
from seqserve.training.export.parity import BATCH_SIZES, LENGTHS, SEED, TIME, cases, in_windows
from seqserve.training.export.words import CARRY_LENGTHS
from seqserve.training.int8 import Rounding
from seqserve.training.runner import GraphRunner, Runner
from seqserve.v1 import manifest_pb2

PERTURBATION = 1e-3
"""Part of a step by which numbers are shaken before they are rounded; what float32 loses is a tenth of that at most."""
BATCH = "B"
"""The axis of rows, as the manifest names it."""
STATE_AXES = ["directions", BATCH, "size"]
ATTENDED = "attended_log"
"""State of attended pooling, whose sums depend on the cutting of time in float32 as well."""


def perturbed(reference: TorchRunner) -> Runner:
    """A network of int8 that rounds some of its numbers to the other side, as if they had been less exact."""
    other = copy.deepcopy(reference)
    for module in other.network.modules():
        if isinstance(module, Rounding):
            module.perturbation = PERTURBATION

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(SEED)
            return other(inputs)

    return run


def prove_bits(model: ExportedModel, vocabulary: manifest_pb2.Vocabulary) -> None:
    """Run each row of a batch by itself and without padding, and time in single steps.

    Raises: ExportError if one bit differs.
    """
    graph = GraphRunner(model.graph)
    generator = np.random.default_rng(SEED)
    cut = model.states and ATTENDED not in [state.name for state in model.states]
    for steps in LENGTHS:
        for batch in BATCH_SIZES:
            for inputs in cases(model, vocabulary, steps, batch, generator):
                whole = graph(inputs)
                for row, length in enumerate(inputs["lengths"].tolist()):
                    alone = graph(_row(model, inputs, row, length))
                    _compare(alone, _row(model, whole, row, length), f"row {row} of {batch} by itself")
                if cut and (inputs["lengths"] == steps).all():
                    ahead = steps if CARRY_LENGTHS in model.inputs else 0
                    _compare(in_windows(model, graph, inputs, 1, ahead), whole, f"{steps} steps one by one")


def _row(model: ExportedModel, arrays: Mapping[str, Array], row: int, length: int) -> dict[str, Array]:
    """One row of a graph's inputs, or of its outputs, as far as it counts."""
    axes = {spec.name: list(spec.axes) for spec in (*model.inputs, *model.outputs)}
    found: dict[str, Array] = {}
    for name, values in arrays.items():
        here = axes.get(name, STATE_AXES)
        mine = values.take([row], axis=here.index(BATCH))
        found[name] = mine[:length] if here[0] == TIME else mine
    return found


def _compare(found: Mapping[str, Array], expected: Mapping[str, Array], what: str) -> None:
    for name, values in expected.items():
        if not np.array_equal(found[name], values):
            raise ExportError(
                f"the graph in int8 does not keep its bits: {name} differs for {what}, by"
                f" {np.abs(found[name] - values).max():.3g}; nothing was written. ONNX Runtime"
                f" {onnxruntime.__version__} computes these products otherwise than in integers; export in fp32"
            )
