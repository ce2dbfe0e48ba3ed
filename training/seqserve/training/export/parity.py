"""The proof that a graph computes what was trained: the network in torch against the graph in ONNX Runtime.

Every batch size of the grid meets every length, padded and unpadded, from random states; one-directional models also
run in two parts with the state carried over the cut. Outputs are compared where a row has not ended, states everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch

from seqserve.training.data.padding import inside
from seqserve.training.errors import ExportError
from seqserve.training.export.model import ExportedModel
from seqserve.training.runner import Array, GraphRunner, Runner
from seqserve.v1 import manifest_pb2

BATCH_SIZES = (1, 2, 5, 16)
LENGTHS = (1, 2, 7, 33)
TOLERANCE = 1e-4
SEED = 0


@dataclass
class Errors:
    """Greatest absolute differences so far, and how many cases were compared."""

    outputs: float = 0.0
    states: float = 0.0
    cases: int = 0
    carried_cases: int = 0


def prove(
    model: ExportedModel, reference: Runner, vocabulary: manifest_pb2.Vocabulary, sha256: str
) -> manifest_pb2.ParityProof:
    """Compare the graph with ``reference`` over the grid.

    Args:
        model: the graph and its tensors.
        reference: the trained network.
        vocabulary: how many tokens there are, and how many bytes of a word are seen.
        sha256: digest of the graph, for the proof.
    Raises: ExportError if a difference is above TOLERANCE or not a number, with the case in which it was.
    """
    graph = GraphRunner(model.graph)
    generator = np.random.default_rng(SEED)
    errors = Errors()
    for steps in LENGTHS:
        for batch in BATCH_SIZES:
            for inputs in _cases(model, vocabulary, steps, batch, generator):
                _compare(model, graph, reference, inputs, errors)
    return manifest_pb2.ParityProof(
        max_abs_error_outputs=errors.outputs,
        max_abs_error_states=errors.states,
        tolerance=TOLERANCE,
        batch_sizes=BATCH_SIZES,
        lengths=LENGTHS,
        cases=errors.cases,
        carried_cases=errors.carried_cases,
        provider=graph.provider,
        torch_version=torch.__version__,
        onnxruntime_version=onnxruntime.__version__,
        graph_sha256=sha256,
    )


def _cases(
    model: ExportedModel,
    vocabulary: manifest_pb2.Vocabulary,
    steps: int,
    batch: int,
    generator: np.random.Generator,
) -> Iterator[dict[str, Array]]:
    """Random inputs of one shape: first with every row full, then with rows of random lengths."""
    full = np.full(batch, steps, dtype=np.int32)
    for lengths in (full, generator.integers(1, steps + 1, batch, dtype=np.int32)):
        counts = inside(lengths, steps).T
        inputs: dict[str, Array] = {
            "tokens": np.where(counts, generator.integers(0, vocabulary.size, (steps, batch)), 0),
            "lengths": lengths,
        }
        if vocabulary.word_bytes_max:
            word_lengths = np.where(counts, generator.integers(1, vocabulary.word_bytes_max + 1, counts.shape), 0)
            present = inside(word_lengths, int(word_lengths.max()))
            inputs["word_bytes"] = np.where(present, generator.integers(1, 257, present.shape), 0)
            inputs["word_lengths"] = word_lengths
        inputs = {name: value.astype(np.int32) for name, value in inputs.items()}
        for state in model.states:
            shape = (state.directions, batch, state.size)
            inputs[state.input] = generator.uniform(-1, 1, shape).astype(np.float32)
        yield inputs


def _compare(model: ExportedModel, graph: Runner, reference: Runner, inputs: dict[str, Array], errors: Errors) -> None:
    """Compare one case, and once more with time cut in two where the model carries state and every row is full."""
    expected = reference(inputs)
    _note(model, expected, graph(inputs), inputs, errors)
    steps, full = len(inputs["tokens"]), bool((inputs["lengths"] == len(inputs["tokens"])).all())
    if not model.states or not full or steps == 1:
        return
    cut = steps // 2
    first = graph(inputs | {"tokens": inputs["tokens"][:cut], "lengths": np.full_like(inputs["lengths"], cut)})
    carried = {state.input: first[state.output] for state in model.states}
    rest = {"tokens": inputs["tokens"][cut:], "lengths": np.full_like(inputs["lengths"], steps - cut)}
    second = graph(inputs | rest | carried)
    joined = {spec.name: np.concatenate([first[spec.name], second[spec.name]]) for spec in model.outputs}
    _note(model, expected, second | joined, inputs, errors)
    errors.carried_cases += 1


def _note(
    model: ExportedModel,
    expected: dict[str, Array],
    found: dict[str, Array],
    inputs: dict[str, Array],
    errors: Errors,
) -> None:
    """Enter the differences of one comparison into ``errors``."""
    steps, batch = inputs["tokens"].shape
    counts = inside(inputs["lengths"], steps).T
    outputs = max(float(np.abs(expected[s.name] - found[s.name])[counts].max()) for s in model.outputs)
    states = max((float(np.abs(expected[s.output] - found[s.output]).max()) for s in model.states), default=0.0)
    if not max(outputs, states) <= TOLERANCE:  # NaN is not either
        raise ExportError(
            f"the graph differs from the trained network: outputs by {outputs:.3g}, states by {states:.3g}, allowed"
            f" {TOLERANCE:.0e} (batch of {batch}, lengths {inputs['lengths'].tolist()}); nothing was written"
        )
    errors.outputs = max(errors.outputs, outputs)
    errors.states = max(errors.states, states)
    errors.cases += 1
