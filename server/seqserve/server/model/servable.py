"""One loaded servable: an ONNX Runtime session, ready to step. Chooses the provider, feeds the graph, warms it up.

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

_PAIRED_ROWS_MAX = 8  # of a run with two threads: with more, their answers need the other processor
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True)
class ServableId:
    """Which servable: model, version, and the SHA-256 of its graph."""

    model: str
    version: int
    digest: str


def choose_provider(wanted: Literal["auto", "cpu", "cuda"]) -> str:
    """Name of the execution provider to use.

    Raises: ProviderError if CUDA was asked for and this installation of ONNX Runtime does not have it.
    """
    available: list[str] = ort.get_available_providers()
    if wanted == "cuda" and _CUDA not in available:
        raise ProviderError(
            f"provider 'cuda' was asked for, but this ONNX Runtime {ort.__version__} has only {', '.join(available)}; "
            "install it with: pip uninstall onnxruntime && pip install onnxruntime-gpu (needs CUDA 12 and cuDNN 9), "
            "or use provider 'cpu' or 'auto'"
        )
    return _CUDA if wanted != "cpu" and _CUDA in available else _CPU


class Servable:
    """One version of a model, loaded."""

    def __init__(self, identity: ServableId, manifest: pb.Manifest, folder: Path, runtime: RuntimeSettings) -> None:
        """Load the graph and warm it up.

        Raises: BrokenServableError if ONNX Runtime cannot load or run the graph, or its names are not the manifest's;
            ProviderError if the provider is not there or fell back to another.
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
        """Whether the graph runs on the processors that everything else needs too."""
        return self.provider == _CPU

    @property
    def sees_future(self) -> bool:
        """Whether outputs depend on later steps, so that a sequence cannot be cut in time: of bidirectional models."""
        return self.manifest.network.bidirectional

    @property
    def carries_forward_state(self) -> bool:
        """Whether a model that sees the future can be read in windows: its forward state goes from one to the next."""
        return self._carry_lengths is not None

    def initial_state(self) -> State:
        """The state of one new sequence: arrays (D, 1, H)."""
        return tuple(
            np.array(spec.initial_values, np.float32).reshape(spec.directions, 1, spec.size)
            if spec.initial_values
            else np.full((spec.directions, 1, spec.size), spec.initial_value, np.float32)
            for spec in self.manifest.states
        )

    @contextmanager
    def work(self) -> Generator[None]:
        """What a thread does with the servable without a rest: while only one does, a run may have two threads."""
        with self._lock:
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1

    def run(self, inputs: list[Inputs], state: State) -> tuple[list[FloatArray], State]:
        """Run the graph over the inputs of B sequences, padded to the longest.

        Args:
            inputs: B >= 1 inputs, each at least one step.
            state: Arrays (1, B, H), as `initial_state` gives them side by side: of a model that sees the future its
                forward state, or the empty tuple for one that cannot be read in windows.
        Returns: The graph's outputs in the manifest's order, (T, B, V) each (rows beyond a sequence's length are
            meaningless), with T = 1 for those of a classifier, which answers once, at each sequence's last step; and
            the state after it, or of a model that sees the future after each sequence's first step.
        Raises: ValueError for no sequences or an empty one.
        """
        arrays, lengths = pad(inputs)
        return self.run_arrays(arrays, lengths, state)

    def run_arrays(
        self, arrays: Mapping[pb.TensorRole, Array], lengths: IntArray, state: State
    ) -> tuple[list[FloatArray], State]:
        """As run, with the inputs already padded: arrays (T, B, ...), lengths int32 (B,), each at least 1."""
        feed: dict[str, Array] = {name: arrays[role] for role, name in self._inputs}
        feed[self._lengths] = lengths
        if self._carry_lengths is not None:  # windows go on from step to step; whole sequences need no state
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
                    f"the graph's {what} are {sorted(graph)}, the manifest says {sorted(manifest)}; "
                    "export the servable again"
                )

    def _warm_up(self) -> None:
        """Run the smallest and a small batch once: the first run of a shape is slow, and a bad graph shows here."""
        for count, steps in ((1, 1), (2, 3)):
            state = tuple(np.repeat(tensor, count, axis=1) for tensor in self.initial_state())
            arrays = {spec.role: _zeros(spec, steps, count) for spec in self.manifest.inputs if "T" in spec.axes}
            try:
                outputs, new_state = self.run_arrays(arrays, np.full(count, steps, np.int32), state)
            except Exception as error:  # ONNX Runtime's exceptions have no common base but this
                raise BrokenServableError(f"the graph does not run: {error}") from error
            if not all(np.isfinite(array).all() for array in (*outputs, *new_state)):
                raise BrokenServableError(
                    "the graph gives numbers that are not finite; train or export the model again"
                )


def processors() -> int:
    """Processors that this process may use; Linux alone tells which of all that are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open(path: Path, provider: str, runtime: RuntimeSettings, *, threads: int, lone: bool = False) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads of a run meet after every product and spin until then; on until the next run only where nobody else runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "0" if lone else "1")
    options.enable_cpu_mem_arena = False  # arena and pattern grow with every new shape
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    providers = [provider] if provider == _CPU else [provider, _CPU]
    if provider == _CUDA:
        ort.preload_dlls()  # CUDA's libraries as pip installs them are not where the loader looks
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this
        raise BrokenServableError(f"ONNX Runtime cannot load {path.name}: {error}") from error
    if session.get_providers()[0] != provider:  # ONNX Runtime falls back in silence
        problem = f"{provider} could not start on this machine: are CUDA 12, cuDNN 9 and a driver there?"
        if runtime.provider != "auto":
            raise ProviderError(f"{problem} Use provider 'cpu' or 'auto' to serve without it")
        log.warning("%s Serving on %s", problem, session.get_providers()[0])
    return session


def _zeros(spec: pb.TensorSpec, steps: int, count: int) -> Array:
    sizes = {"T": steps, "B": count, "W": 1}
    shape = [sizes[axis] if axis in sizes else int(axis) for axis in spec.axes]
    return np.zeros(shape, np.float32 if spec.role == pb.TENSOR_ROLE_FEATURES else np.int32)
