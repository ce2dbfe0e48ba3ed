"""The naive way to run a graph: a session of ONNX Runtime, one sequence per run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from google.protobuf import json_format
from tokenizers import Tokenizer

from seqserve.v1 import manifest_pb2

InputArrays: TypeAlias = dict[str, npt.NDArray[Any]]


class NaiveModel:
    """A servable and its tokenizer."""

    def __init__(self, servable: Path, threads: int, *, executor: bool) -> None:
        """Loads a servable.

        Args:
            servable: Folder of the servable.
            threads: Threads inside one run; 0 for the default of ONNX Runtime.
            executor: Run the graph in a thread pool instead of on the event loop.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.tokenizer = Tokenizer.from_file(str(servable / "tokenizer.json"))
        self.manifest = json_format.Parse((servable / "manifest.json").read_bytes(), manifest_pb2.Manifest())
        self._session = ort.InferenceSession(str(servable / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self._tokens, self._lengths = (spec.name for spec in self.manifest.inputs)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._executor = executor

    def initial_state(self) -> InputArrays:
        """Returns the state of a new sequence, (D, 1, H) each."""
        return {spec.input: np.zeros((spec.directions, 1, spec.size), np.float32) for spec in self.manifest.states}

    async def run(self, tokens: list[int], state: InputArrays) -> tuple[npt.NDArray[np.float64], InputArrays]:
        """Runs some tokens. Returns the outputs of the last step (V,) and the new state."""
        inputs = {
            self._tokens: np.array([tokens], np.int32).T,
            self._lengths: np.array([len(tokens)], np.int32),
        } | state
        if self._executor:
            results = await asyncio.get_running_loop().run_in_executor(None, self._session.run, None, inputs)
        else:
            results = self._session.run(None, inputs)
        outputs = dict(zip(self._outputs, results, strict=True))
        scores_TBV = outputs[self.manifest.outputs[0].name]
        return scores_TBV[-1, 0].astype(np.float64), {spec.input: outputs[spec.output] for spec in self.manifest.states}
