"""A runner takes the inputs of a servable's graph by name and gives its outputs by name.

The trained network in torch and the exported graph in ONNX Runtime are both runners, so whatever judges the one judges
the other: evaluation, and the parity proof. Names and shapes are those of the manifest.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort

from seqserve.training.arrays import Array
from seqserve.v1 import manifest_pb2

STATE_OUTPUT_SUFFIX = "_out"
"""A state's output is named as its input with this behind it."""


class Runner(Protocol):
    """Runs a model on named arrays."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, final states as ``<name>_out``; there is at least one row, each of at least one step."""
        ...


class GraphRunner:
    """An ONNX graph on ONNX Runtime's CPU provider."""

    def __init__(self, graph: bytes) -> None:
        runtime: Any = ort  # its annotations don't type the functions used here
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would fight with torch's threads
        self._session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._output_names: list[str] = [output.name for output in self._session.get_outputs()]

    @property
    def provider(self) -> str:
        """The execution provider that runs the graph, as ONNX Runtime names it."""
        name: str = self._session.get_providers()[0]
        return name

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph; refuses an empty batch, for ONNX Runtime would end the process."""
        if 0 in inputs["tokens"].shape:
            raise ValueError(f"empty batch: tokens {inputs['tokens'].shape}")
        return dict(zip(self._output_names, self._session.run(None, dict(inputs)), strict=True))


def initial_states(specs: Iterable[manifest_pb2.StateSpec], batch: int) -> dict[str, Array]:
    """The states that sequences start from by name, float32 (D, B, size)."""
    return {spec.input: np.repeat(_start(spec).reshape(spec.directions, 1, spec.size), batch, axis=1) for spec in specs}


def _start(spec: manifest_pb2.StateSpec) -> Array:
    if spec.initial_values:
        return np.asarray(spec.initial_values, dtype=np.float32)
    return np.full(spec.directions * spec.size, spec.initial_value, dtype=np.float32)


def carried(outputs: Mapping[str, Array], names: tuple[str, ...]) -> dict[str, Array]:
    """The final states of one run as the initial states of the next."""
    return {name: outputs[name + STATE_OUTPUT_SUFFIX] for name in names}
