"""The proof that a graph computes what was trained: the graph in ONNX Runtime against the network in torch.

Every batch size of the grid meets every length, padded and unpadded, from states that the network has reached. Models
that carry state also run in two parts, with the state carried over the cut; bidirectional ones in windows, whose
backward direction sees all that comes, which has to change nothing, or little of it, which is compared with the network
in the same windows. Outputs are compared where a row has not ended, states everywhere.

The reference is the network in float64. What torch loses in float32 against it is measured too: a graph in float32 can
be no nearer than that, and it grows with the size of the values and with how far a network amplifies small differences.
How exact the sums of torch are depends on the processor, so the exact network with weights that are off by a rounding
of float32 is measured beside it: what that changes, no graph in float32 can avoid, on any processor.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
import torch

from seqserve.training.arrays import Array
from seqserve.training.data.padding import inside
from seqserve.training.errors import ExportError
from seqserve.training.export.model import ExportedModel, TorchRunner
from seqserve.training.export.words import CARRY_LENGTHS
from seqserve.training.runner import GraphRunner, Runner, initial_states
from seqserve.v1 import manifest_pb2

BATCH_SIZES = (1, 2, 5, 16)
LENGTHS = (1, 2, 7, 33)
TOLERANCE = 1e-5
"""Absolute difference from the exact network that's always allowed."""
ROUNDING_MAX = 4
"""Allowed error of the graph as a multiple of the cost of rounding to float32, if larger than TOLERANCE."""
EPSILON = float(np.finfo(np.float32).eps)
"""Relative distance of neighbours in float32."""
TIME = "T"
"""The axis of time, as the manifest names it."""
SEED = 0
AHEAD = 2
"""Steps of future in windows that see little of it."""


@dataclass(frozen=True)
class Difference:
    """Greatest absolute differences of outputs and of states."""

    outputs: float = 0.0
    states: float = 0.0

    @property
    def greatest(self) -> float:
        """Of both."""
        return max(self.outputs, self.states)

    def joined(self, other: "Difference") -> "Difference":
        """The greater of both, each."""
        return Difference(max(self.outputs, other.outputs), max(self.states, other.states))


@dataclass
class Findings:
    """What the grid has shown so far.

    Attributes:
        of_graph: how far the graph was from the exact network.
        of_torch: how far the network in float32 was from it, or the exact one with weights as inexact as in float32.
        worst: the case in which the graph was farthest.
        differences: of the graph, of each case.
        lost: of the network in float32, of each case.
        cases: comparisons of the graph.
        carried_cases: those among them in which a state was carried over a cut.
    """

    of_graph: Difference = Difference()
    of_torch: Difference = Difference()
    worst: str = ""
    differences: list[float] = field(default_factory=list[float])
    lost: list[float] = field(default_factory=list[float])
    cases: int = 0
    carried_cases: int = 0


def prove(
    model: ExportedModel,
    reference: TorchRunner,
    vocabulary: manifest_pb2.Vocabulary,
    sha256: str,
    perturbed: Runner | None = None,
) -> manifest_pb2.ParityProof:
    """Compare the graph over the grid with ``reference`` in float64.

    Args:
        model: the graph and its tensors.
        reference: the trained network, in float32.
        vocabulary: how many tokens there are, and how many bytes of a word are seen.
        sha256: digest of the graph, for the proof.
        perturbed: For int8, the network with slightly less exact values before rounding. Differences of this size are
            allowed too, but not in most of the cases: few of them have a number next to the border between two steps.
    Raises: ExportError if a difference is not a number, or above both TOLERANCE and ROUNDING_MAX times what rounding to
        float32 costs (the greater of torch's own loss and what weights that are off by one rounding change), with the
        case in which it was.
    """
    graph = GraphRunner(model.graph)
    exact = in_float64(reference)
    rounded = with_rounded_weights(reference) if perturbed is None else perturbed
    generator = np.random.default_rng(SEED)
    findings = Findings()
    for steps in LENGTHS:
        for batch in BATCH_SIZES:
            for inputs in cases(model, vocabulary, steps, batch, generator):
                reached = reference(inputs) if model.states else {}
                inputs |= {state.input: reached[state.output] for state in model.states}
                expected = exact(inputs)
                lost = _difference(model, expected, reference(inputs), inputs)
                findings.lost.append(lost.greatest)
                lost = lost.joined(_difference(model, expected, rounded(inputs), inputs))
                findings.of_torch = findings.of_torch.joined(lost)
                _note(model, expected, graph(inputs), inputs, findings)
                if model.states and steps > 1 and (inputs["lengths"] == steps).all():
                    _compare_carried(model, graph, exact, expected, inputs, findings)
    tolerance = max(TOLERANCE, ROUNDING_MAX * findings.of_torch.greatest)
    if findings.of_graph.greatest > tolerance:
        raise _differs(findings.of_graph, f"allowed {tolerance:.3g} ({findings.worst})")
    mostly = max(TOLERANCE, ROUNDING_MAX * float(np.median(findings.lost)))
    if perturbed is not None and (median := float(np.median(findings.differences))) > mostly:
        raise _differs(findings.of_graph, f"in half of the cases by {median:.3g}, allowed {mostly:.3g}")
    return manifest_pb2.ParityProof(
        max_abs_error_outputs=findings.of_graph.outputs,
        max_abs_error_states=findings.of_graph.states,
        tolerance=tolerance,
        batch_sizes=BATCH_SIZES,
        lengths=LENGTHS,
        cases=findings.cases,
        carried_cases=findings.carried_cases,
        provider=graph.provider,
        torch_version=torch.__version__,
        onnxruntime_version=onnxruntime.__version__,
        graph_sha256=sha256,
    )


def in_float64(reference: TorchRunner) -> Runner:
    """The same network with weights, states and sums in float64; float32 inputs become float64 too."""
    exact = copy.deepcopy(reference)
    exact.network.double()
    return _with_doubles(exact)


def with_rounded_weights(reference: TorchRunner) -> Runner:
    """As `in_float64`, with each weight off by up to EPSILON times its value, at random."""
    other = copy.deepcopy(reference)
    other.network.double()
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weight in other.network.parameters():
            errors = torch.rand(weight.shape, generator=generator, dtype=torch.float64) * 2 - 1
            weight.mul_(1 + EPSILON * errors.to(weight.device))
    return _with_doubles(other)


def _with_doubles(exact: TorchRunner) -> Runner:
    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        doubles = {name: value.astype(np.float64) for name, value in inputs.items() if value.dtype == np.float32}
        return exact({**inputs, **doubles})

    return run


def cases(
    model: ExportedModel,
    vocabulary: manifest_pb2.Vocabulary,
    steps: int,
    batch: int,
    generator: np.random.Generator,
) -> Iterator[dict[str, Array]]:
    """Random inputs of one shape, with initial states: first with every row full, then with rows of random lengths.

    Forward states of bidirectional models are returned after the last step of full rows, and after a random step of
    the others.
    """
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
        if CARRY_LENGTHS in model.inputs:
            inputs[CARRY_LENGTHS.name] = full if (lengths == steps).all() else generator.integers(1, lengths + 1)
        inputs = {name: value.astype(np.int32) for name, value in inputs.items()}
        yield inputs | initial_states(model.states, batch)


def _compare_carried(
    model: ExportedModel,
    graph: Runner,
    exact: Runner,
    expected: dict[str, Array],
    inputs: dict[str, Array],
    findings: Findings,
) -> None:
    """Compare a case whose rows are all full with its state carried."""
    steps = len(inputs["tokens"])
    half = -(-steps // 2)
    windowed = CARRY_LENGTHS in model.inputs
    _note(model, expected, in_windows(model, graph, inputs, half, steps if windowed else 0), inputs, findings)
    findings.carried_cases += 1
    if windowed:
        few = -(-half // 2)
        seen = in_windows(model, exact, inputs, few, AHEAD)
        _note(model, seen, in_windows(model, graph, inputs, few, AHEAD), inputs, findings)
        findings.carried_cases += 1


def in_windows(
    model: ExportedModel, run: Runner, inputs: dict[str, Array], answered: int, ahead: int
) -> dict[str, Array]:
    """What a model that carries state gives for rows that are all full, if it reads them in windows.

    Args:
        model: its tensors.
        run: the graph or the network.
        inputs: of all steps, and the states at their beginning.
        answered: steps whose outputs are taken from each window; their states go on.
        ahead: steps after these that a window also has; for one-directional models: 0.
    """
    steps, lengths = len(inputs["tokens"]), inputs["lengths"]
    pieces: list[dict[str, Array]] = []
    outputs: dict[str, Array] = {}
    carried: dict[str, Array] = {}
    for begin in range(0, steps, answered):
        count, end = min(answered, steps - begin), min(begin + answered + ahead, steps)
        window = {spec.name: inputs[spec.name][begin:end] for spec in model.inputs if spec.axes[0] == TIME}
        window["lengths"] = np.full_like(lengths, end - begin)
        if CARRY_LENGTHS in model.inputs:
            window[CARRY_LENGTHS.name] = np.full_like(lengths, count)
        outputs = run(inputs | window | carried)
        carried = {state.input: outputs[state.output] for state in model.states}
        pieces.append({spec.name: outputs[spec.name][:count] for spec in model.outputs if spec.axes[0] == TIME})
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return outputs | joined  # outputs for a whole sequence come from the last window


def _note(
    model: ExportedModel,
    expected: dict[str, Array],
    found: dict[str, Array],
    inputs: dict[str, Array],
    findings: Findings,
) -> None:
    """Enter the differences of one comparison into ``findings``."""
    case = f"batch of {inputs['tokens'].shape[1]}, lengths {inputs['lengths'].tolist()}"
    difference = _difference(model, expected, found, inputs)
    if not math.isfinite(difference.outputs + difference.states):
        raise _differs(difference, case)
    if difference.greatest > findings.of_graph.greatest:
        findings.worst = case
    findings.of_graph = findings.of_graph.joined(difference)
    findings.differences.append(difference.greatest)
    findings.cases += 1


def _difference(
    model: ExportedModel, expected: dict[str, Array], found: dict[str, Array], inputs: dict[str, Array]
) -> Difference:
    """Outputs are compared where a row has not ended."""
    counts = inside(inputs["lengths"], len(inputs["tokens"])).T
    outputs = [
        np.abs(expected[spec.name] - found[spec.name])[counts if spec.axes[0] == TIME else ...].max()
        for spec in model.outputs
    ]
    states = [np.abs(expected[state.output] - found[state.output]).max() for state in model.states]
    return Difference(float(np.max(outputs)), float(np.max(states, initial=0.0)))  # NaN stays NaN


def _differs(difference: Difference, more: str) -> ExportError:
    return ExportError(
        f"the graph differs from the trained network: outputs by {difference.outputs:.3g}, states by"
        f" {difference.states:.3g}, {more}; nothing was written"
    )
