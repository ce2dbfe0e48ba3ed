"""A loaded servable: an ONNX Runtime session that is ready to step. Chooses the provider and warms the graph up.

Axes: T steps, B sequences, D directions, H units, V vocabulary or labels.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime

from seqserve.server.errors import BrokenServableError, ProviderError
from seqserve.server.model.inputs import Array, Inputs, IntArray, pad
from seqserve.server.model.manifest import GRAPH_FILE
from seqserve.server.model.state import FloatArray, State
from seqserve.server.settings import RuntimeSettings
from seqserve.v1 import manifest_pb2 as pb

log = logging.getLogger(__name__)

ort: Any = onnxruntime  # it ships no type information

_PAIRED_ROWS_MAX = 8  # of a run with two threads: with more rows, sending their answers needs the other processor
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True)
class ServableId:
    """Identifies a servable.

    Attributes:
        model: Name of the model.
        version: Version of the model.
        digest: SHA-256 of the graph, in hexadecimal.
    """

    model: str
    version: int
    digest: str


def choose_provider(wanted: Literal["auto", "cpu", "cuda"]) -> str:
    """Returns the name of the execution provider to use.

    Args:
        wanted: The provider setting.

    Raises:
        ProviderError: CUDA is required and this installation of ONNX Runtime does not have it.
    """
    available: list[str] = ort.get_available_providers()
    if wanted == "cuda" and _CUDA not in available:
        raise ProviderError(
            f"provider 'cuda' is required, but this ONNX Runtime {ort.__version__} has only {', '.join(available)}; "
            "install it with: pip uninstall onnxruntime && pip install onnxruntime-gpu (needs CUDA 12 and cuDNN 9), "
            "or use provider 'cpu' or 'auto'"
        )
    return _CUDA if wanted != "cpu" and _CUDA in available else _CPU


class Servable:
    """One loaded version of a model.

    Attributes:
        id: Identifies the servable.
        manifest: The manifest.
        provider: Name of the execution provider that runs the graph.
    """

    def __init__(self, identity: ServableId, manifest: pb.Manifest, folder: Path, runtime: RuntimeSettings) -> None:
        """Loads the graph and warms it up.

        Args:
            identity: Identifies the servable.
            manifest: The manifest, already checked.
            folder: Folder of the files.
            runtime: Provider and threads.

        Raises:
            BrokenServableError: ONNX Runtime cannot load or run the graph, or its names are not those of the manifest.
            ProviderError: The provider is not available, or ONNX Runtime fell back to another one.
        """
        self.id = identity
        self.manifest = manifest
        provider = choose_provider(runtime.provider)
        self._session = _open(folder / GRAPH_FILE, provider, runtime, threads=runtime.threads or 1)
        self.provider: str = self._session.get_providers()[0]
        pairs = runtime.threads == 0 and self.on_cpu and processors() > 1
        self._paired = _open(folder / GRAPH_FILE, provider, runtime, threads=2, lone=True) if pairs else self._session
        self._at_work = 0
        self._lock = threading.Lock()  # guards _at_work
        self._check_names()
        names = {spec.role: spec.name for spec in manifest.inputs}
        self._lengths = names.pop(pb.TENSOR_ROLE_LENGTHS)
        self._carry_lengths = names.pop(pb.TENSOR_ROLE_CARRY_LENGTHS, None)
        self._inputs = list(names.items())
        self._outputs = [spec.name for spec in manifest.outputs] + [spec.output for spec in manifest.states]
        self._per_step = [spec.role != pb.TENSOR_ROLE_CLASS_LOGITS for spec in manifest.outputs]
        self._state_inputs = [spec.input for spec in manifest.states]
        self._warm_up()
        if self._paired is not self._session:
            with self.work(), self.work():
                self._warm_up()

    @property
    def on_cpu(self) -> bool:
        """Whether the graph runs on the CPU, which everything else needs too."""
        return self.provider == _CPU

    @property
    def sees_future(self) -> bool:
        """Whether outputs depend on later steps, so that a sequence cannot be split in time. True if bidirectional."""
        return self.manifest.network.bidirectional

    @property
    def carries_forward_state(self) -> bool:
        """Whether a bidirectional model can run in windows, with its forward state carried from one to the next."""
        return self._carry_lengths is not None

    def initial_state(self) -> State:
        """Returns the state of a new sequence: arrays (D, 1, H)."""
        return tuple(
            np.array(spec.initial_values, np.float32).reshape(spec.directions, 1, spec.size)
            if spec.initial_values
            else np.full((spec.directions, 1, spec.size), spec.initial_value, np.float32)
            for spec in self.manifest.states
        )

    @contextmanager
    def work(self) -> Generator[None]:
        """Marks that a thread runs the servable continuously. While only one does, a run may have two threads."""
        with self._lock:
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1

    def run(self, inputs: list[Inputs], state: State) -> tuple[list[FloatArray], State]:
        """Runs the graph over B sequences, padded to the longest.

        Args:
            inputs: B >= 1 inputs, each with at least one step.
            state: Arrays (1, B, H), as joined from `initial_state`. Bidirectional models: the forward state, or the
                empty tuple if the model cannot run in windows.

        Returns:
            The outputs in the manifest's order, each (T, B, V). Rows beyond the length of a sequence are meaningless.
            T is 1 for a classifier, which has one output at the last step of each sequence.
            The state after the last step. Bidirectional models: the forward state after the first step.

        Raises:
            ValueError: There are no sequences, or one is empty.
        """
        arrays, lengths = pad(inputs)
        return self.run_arrays(arrays, lengths, state)

    def run_arrays(
        self, arrays: Mapping[pb.TensorRole, Array], lengths: IntArray, state: State
    ) -> tuple[list[FloatArray], State]:
        """Runs the graph as `run` does, with padded inputs.

        Args:
            arrays: An array (T, B, ...) for each role.
            lengths: int32 (B), each at least 1.
            state: As for `run`.

        Returns:
            As `run`.
        """
        feed: dict[str, Array] = {name: arrays[role] for role, name in self._inputs}
        feed[self._lengths] = lengths
        if (
            self._carry_lengths is not None
        ):  # windows continue after their first step; complete sequences ignore the state
            feed[self._carry_lengths] = np.ones_like(lengths)
        feed.update(zip(self._state_inputs, state, strict=True))
        alone = self._at_work <= 1 and len(lengths) <= _PAIRED_ROWS_MAX
        results: list[FloatArray] = (self._paired if alone else self._session).run(self._outputs, feed)
        count = len(self._per_step)
        outputs = [
            result if per_step else result[np.newaxis]
            for result, per_step in zip(results[:count], self._per_step, strict=True)
        ]
        return outputs, tuple(results[count:])

    def _check_names(self) -> None:
        spec = self.manifest
        graph_names: tuple[set[str], set[str]] = (
            {node.name for node in self._session.get_inputs()},
            {node.name for node in self._session.get_outputs()},
        )
        manifest_names = (
            {tensor.name for tensor in spec.inputs} | {state.input for state in spec.states},
            {tensor.name for tensor in spec.outputs} | {state.output for state in spec.states},
        )
        for what, graph, manifest in zip(("inputs", "outputs"), graph_names, manifest_names, strict=True):
            if graph != manifest:
                raise BrokenServableError(
                    f"the graph's {what} must be those of the manifest, {sorted(manifest)}, got {sorted(graph)}; "
                    "export the servable again"
                )

    def _warm_up(self) -> None:
        """Runs two small batches: the first run of a shape is slow, and a broken graph fails here."""
        for count, steps in ((1, 1), (2, 3)):
            state = tuple(np.repeat(tensor, count, axis=1) for tensor in self.initial_state())
            arrays = {spec.role: _zeros(spec, steps, count) for spec in self.manifest.inputs if "T" in spec.axes}
            try:
                outputs, new_state = self.run_arrays(arrays, np.full(count, steps, np.int32), state)
            except Exception as error:  # ONNX Runtime's exceptions have no other common base
                raise BrokenServableError(f"the graph does not run: {error}") from error
            if not all(np.isfinite(array).all() for array in (*outputs, *new_state)):
                raise BrokenServableError(
                    "the graph returns numbers that are not finite; train or export the model again"
                )


def processors() -> int:
    """Returns the number of processors that this process may use. Only Linux can tell; elsewhere, all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open(path: Path, provider: str, runtime: RuntimeSettings, *, threads: int, lone: bool = False) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The threads of a run synchronize after every product and spin until then. They spin until the next run only if no
    # other engine runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "0" if lone else "1")
    options.enable_cpu_mem_arena = False  # arena and pattern grow with every new shape
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    providers = [provider] if provider == _CPU else [provider, _CPU]
    if provider == _CUDA:
        ort.preload_dlls()  # the loader does not find CUDA libraries that pip has installed
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        raise BrokenServableError(f"ONNX Runtime cannot load {path.name}: {error}") from error
    if session.get_providers()[0] != provider:  # ONNX Runtime falls back silently
        problem = f"{provider} could not start on this machine: are CUDA 12, cuDNN 9 and a driver installed?"
        if runtime.provider != "auto":
            raise ProviderError(f"{problem} Use provider 'cpu' or 'auto' to serve without it")
        log.warning("%s Serving on %s", problem, session.get_providers()[0])
    return session


def _zeros(spec: pb.TensorSpec, steps: int, count: int) -> Array:
    sizes = {"T": steps, "B": count, "W": 1}
    shape = [sizes[axis] if axis in sizes else int(axis) for axis in spec.axes]
    return np.zeros(shape, np.float32 if spec.role == pb.TENSOR_ROLE_FEATURES else np.int32)
