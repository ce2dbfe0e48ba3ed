"""What int8 costs: the same data through a network in float32 and in int8, side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from tokenizers import Tokenizer

from seqserve.training.arrays import Array
from seqserve.training.data.files import labelled_files
from seqserve.training.data.padding import inside
from seqserve.training.data.text import sha256_of
from seqserve.training.errors import ConfigError, DataError, ExportError
from seqserve.training.evaluation.metrics import UNITS, EvalResult
from seqserve.training.export.model import Exportable
from seqserve.training.export.parity import TIME
from seqserve.training.runner import GraphRunner, Runner
from seqserve.v1 import manifest_pb2

QUALITY_LOSS_MAX = 0.01
"""Default maximum loss of quality, in the unit of the metric."""
METRICS = ("span_f1", "accuracy", "loss")
"""The figures that quality is judged by: the first of them that a model has."""
VALIDATION = "validation"
GIVEN = "given"
PLAIN = "float32."
"""Before the names of the states that the network in float32 carries."""


Evaluate: TypeAlias = Callable[[Runner, manifest_pb2.Manifest, Tokenizer, Sequence[Path]], EvalResult]
"""Judges a model on data files, or without any on the data that it was validated on."""


@dataclass
class PairedRunner:
    """A runner of both networks, each with its own state; it answers for the one in int8, and keeps the differences.

    Attributes:
        exportable: tells the names of states and outputs.
        quantized: the network in int8.
        plain: the network in float32.
        greatest: absolute difference of outputs at steps that count.
        total: sum of these differences.
        count: how many they are.
    """

    exportable: Exportable
    quantized: Runner
    plain: Runner
    greatest: float = 0.0
    total: float = 0.0
    count: int = 0

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs in int8, and the final states of both."""
        quantized_inputs = {name: value for name, value in inputs.items() if not name.startswith(PLAIN)}
        float32_states = {name.removeprefix(PLAIN): value for name, value in inputs.items() if name.startswith(PLAIN)}
        quantized_outputs, float32_outputs = (
            self.quantized(quantized_inputs),
            self.plain(quantized_inputs | float32_states),
        )
        counts_TB = inside(inputs["lengths"], len(inputs["tokens"])).T
        for spec in self.exportable.model.outputs:
            differences = np.abs(quantized_outputs[spec.name] - float32_outputs[spec.name])
            differences = differences[counts_TB] if spec.axes[0] == TIME else differences
            self.greatest = max(self.greatest, float(differences.max()))
            self.total += float(differences.sum(dtype=np.float64))
            self.count += differences.size
        carried = {PLAIN + state.output: float32_outputs[state.output] for state in self.exportable.model.states}
        return quantized_outputs | carried

    @property
    def states(self) -> list[manifest_pb2.StateSpec]:
        """The states of both."""
        paired = list(self.exportable.model.states)
        for state in self.exportable.model.states:
            other = manifest_pb2.StateSpec()
            other.CopyFrom(state)
            other.name, other.input, other.output = PLAIN + state.name, PLAIN + state.input, PLAIN + state.output
            paired.append(other)
        return paired


def quantization_report(
    evaluate: Evaluate, tokenizer: Tokenizer, quantized: Exportable, plain: Exportable, data: Sequence[Path]
) -> tuple[manifest_pb2.QuantizationRecord, list[manifest_pb2.Metric]]:
    """Judge both networks on the same data.

    Args:
        evaluate: of the model's task.
        tokenizer: of the trained network.
        quantized: its form in int8, with the manifest as it is known before there is a graph file.
        plain: its form in float32.
        data: files to judge on; none: the data that it was validated on, where they are still where they were.
    Returns: what int8 costs, and what it reaches.
    Raises: DataError if the data cannot be read.
    """
    paired = PairedRunner(quantized, GraphRunner(quantized.model.graph), GraphRunner(plain.model.graph))

    def figures_of(run: Runner, states: Sequence[manifest_pb2.StateSpec]) -> dict[str, float]:
        manifest = manifest_pb2.Manifest()
        manifest.CopyFrom(quantized.manifest)
        manifest.states.extend(states)
        figures: dict[str, float] = evaluate(run, manifest, tokenizer, data).figures
        return figures

    try:
        reached = figures_of(paired, paired.states)
        before = figures_of(paired.plain, plain.model.states)
    except DataError as error:
        if data:
            raise
        raise ExportError(
            f"{error}. An int8 servable says what it costs, measured on the data that it was validated on; where they"
            " are no longer there, give others with --data"
        ) from error
    metric = next(name for name in METRICS if name in reached)
    return manifest_pb2.QuantizationRecord(
        metric=metric,
        float32_value=before[metric],
        quantized_value=reached[metric],
        max_abs_logit_error=paired.greatest,
        mean_abs_logit_error=paired.total / paired.count,
        size_ratio=len(quantized.model.graph) / len(plain.model.graph),
        data=_sources(quantized.manifest.training, data),
    ), [
        manifest_pb2.Metric(name=name, split=GIVEN if data else VALIDATION, value=value, unit=UNITS[name])
        for name, value in reached.items()
    ]


def refuse_without_int8(data: Sequence[Path], quality_loss_max: float | None) -> None:
    """Refuses options about the cost of int8 in other precisions. Raises: ConfigError."""
    options = (("--data", bool(data)), ("--quality-loss-max", quality_loss_max is not None))
    if unused := [flag for flag, is_given in options if is_given]:
        raise ConfigError(
            f"{' and '.join(unused)}: only of use with --precision int8, whose price they are about; float32 has none."
            " Add --precision int8, or leave them out"
        )


def refuse_quality_loss(record: manifest_pb2.QuantizationRecord, quality_loss_max: float) -> None:
    """Refuse a network that loses more than this in int8. Raises: ExportError."""
    lost = record.float32_value - record.quantized_value
    if record.metric == "loss":
        lost = -lost
    if not lost <= quality_loss_max:  # NaN is refused too
        raise ExportError(
            f"int8 costs more than --quality-loss-max {quality_loss_max:g}: {record.metric}"
            f" {record.float32_value:.4f} in float32, {record.quantized_value:.4f} in int8, worse by {lost:.4f};"
            " nothing was written. Bear more, or export in fp32"
        )


def _sources(record: manifest_pb2.TrainingRecord, data: Sequence[Path]) -> list[manifest_pb2.DataSource]:
    if not data:
        return [source for source in record.data if source.split == VALIDATION]
    paths = [file.path for file in labelled_files(data)]  # those of a classifier may be LABEL=PATH
    return [manifest_pb2.DataSource(name=path.name, split=GIVEN, sha256=sha256_of(path)) for path in paths]
