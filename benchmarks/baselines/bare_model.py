"""The bare model: the throughput that a server would have if serving cost nothing.

Runs the graph in a loop with a full batch and carried state, without sampling, network, or other Python code.

Axes: T steps, B sequences, D directions, H units.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from google.protobuf import json_format

from seqserve.v1 import manifest_pb2

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

THREADS = (1, 2)
STEPS_MIN = 20
CHUNK_S = 0.05


@dataclass(frozen=True, slots=True)
class BareModelSpeed:
    """The speed of the bare model at one batch size and one number of threads.

    Attributes:
        batch: Sequences in a step.
        threads: Threads of ONNX Runtime inside one run.
        spin: Whether these threads spin while they wait.
        step_us: Duration of a step, in microseconds: the median over chunks of about 50 ms.
        tokens_s: Tokens per second.
        cpu_us_per_token: Processor time per token of all threads of the process, including spinning.
    """

    batch: int
    threads: int
    spin: bool
    step_us: float
    tokens_s: float
    cpu_us_per_token: float


class BareModel:
    """A graph in a session of ONNX Runtime."""

    def __init__(self, servable: Path, threads: int, *, spin: bool, graph: Path | None = None) -> None:
        """Args: graph: A graph to run in place of the servable's, with the tensors that its manifest names."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        self.threads = threads
        self.spin = spin
        self.manifest = json_format.Parse((servable / "manifest.json").read_bytes(), manifest_pb2.Manifest())
        self._session = ort.InferenceSession(
            str(graph or servable / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

        self._tokens, self._lengths = (spec.name for spec in self.manifest.inputs)
        self._states = [spec.input for spec in self.manifest.states]
        self._names = [spec.name for spec in self.manifest.outputs] + [spec.output for spec in self.manifest.states]

    def run(self, tokens_TB: IntArray, states: Sequence[FloatArray]) -> tuple[FloatArray, list[FloatArray]]:
        """Runs T steps of B full rows. Returns logits (T, B, V) and the final states (D, B, H)."""
        steps, batch = tokens_TB.shape
        feed: dict[str, IntArray | FloatArray] = {
            self._tokens: tokens_TB,
            self._lengths: np.full(batch, steps, np.int32),
        }
        feed.update(zip(self._states, states, strict=True))
        logits, *finals = self._session.run(self._names, feed)
        return logits, finals

    def measure(self, batch: int, seconds: float) -> BareModelSpeed:
        """Steps for ``seconds``, after a warm-up of a tenth of that time."""
        tokens = np.arange(batch, dtype=np.int32)[None, :] % self.manifest.vocabulary.size
        states = [np.zeros((spec.directions, batch, spec.size), np.float32) for spec in self.manifest.states]

        def steps(count: int) -> float:
            nonlocal states
            start_s = time.perf_counter()
            for _ in range(count):
                _, states = self.run(tokens, states)
            return time.perf_counter() - start_s

        chunk = max(1, round(CHUNK_S / (steps(STEPS_MIN) / STEPS_MIN)))
        steps(max(1, round(chunk * seconds / CHUNK_S / 10)))
        chunks_s: list[float] = []
        start_s, cpu_s = time.perf_counter(), time.process_time()
        while not chunks_s or time.perf_counter() - start_s < seconds:
            chunks_s.append(steps(chunk))
        cpu_s = time.process_time() - cpu_s
        step_s = float(np.median(chunks_s)) / chunk
        cpu_us = 1e6 * cpu_s / (len(chunks_s) * chunk * batch)
        return BareModelSpeed(batch, self.threads, self.spin, 1e6 * step_s, batch / step_s, cpu_us)


def measure(servable: Path, batches: Sequence[int], seconds: float) -> list[BareModelSpeed]:
    """Measures every batch size with one thread, and with two that spin (the default of ONNX Runtime)."""
    models = [BareModel(servable, threads, spin=threads > 1) for threads in THREADS]
    return [model.measure(batch, seconds) for batch in batches for model in models]


def measure_in_process(servable: Path, batches: Sequence[int], seconds: float) -> list[BareModelSpeed]:
    """Runs `measure` in a separate process."""
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "bare-model",
        str(servable),
        f"--seconds={seconds}",
        "--batches",
    ]
    process = subprocess.run([*command, *map(str, batches)], check=True, stdout=subprocess.PIPE, text=True)
    return [BareModelSpeed(**json.loads(line)) for line in process.stdout.splitlines()]


def fastest(speeds: Sequence[BareModelSpeed], batch: int) -> BareModelSpeed:
    """Returns the speed with the fastest number of threads at a batch size."""
    return max((speed for speed in speeds if speed.batch == batch), key=lambda speed: speed.tokens_s)


def of_threads(speeds: Sequence[BareModelSpeed], batch: int, threads: int) -> BareModelSpeed:
    """Returns the speed at a batch size and a number of threads."""
    return next(speed for speed in speeds if speed.batch == batch and speed.threads == threads)


def main(argv: Sequence[str]) -> None:
    """Runs from the command line; prints a JSON line for each batch size and number of threads."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks bare-model", description="Step the bare model.")
    parser.add_argument("servable", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (%(default)s)")
    arguments = parser.parse_args(argv)
    for speed in measure(arguments.servable, arguments.batches, arguments.seconds):
        print(json.dumps(asdict(speed)))
