"""The graph as most people would run it: a session of ONNX Runtime, one sequence a run."""

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

Feed: TypeAlias = dict[str, npt.NDArray[Any]]


class NaiveModel:
    """A servable."""

    def __init__(self, servable: Path, threads: int, *, executor: bool) -> None:
        """Args: threads: inside one run; 0 leaves it to ONNX Runtime. executor: run the graph in a thread pool."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.tokenizer = Tokenizer.from_file(str(servable / "tokenizer.json"))
        self.manifest = json_format.Parse((servable / "manifest.json").read_bytes(), manifest_pb2.Manifest())
        self._session = ort.InferenceSession(str(servable / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self._tokens, self._lengths = (spec.name for spec in self.manifest.inputs)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._executor = executor

    def initial_state(self) -> Feed:
        """The state of a new sequence, (D, 1, H) each."""
        return {spec.input: np.zeros((spec.directions, 1, spec.size), np.float32) for spec in self.manifest.states}

    async def run(self, tokens: list[int], state: Feed) -> tuple[npt.NDArray[np.float64], Feed]:
        """Read some tokens. Returns: the last step's outputs (V,), and the new state."""
        feed = {self._tokens: np.array([tokens], np.int32).T, self._lengths: np.array([len(tokens)], np.int32)} | state
        if self._executor:
            results = await asyncio.get_running_loop().run_in_executor(None, self._session.run, None, feed)
        else:
            results = self._session.run(None, feed)
        outputs = dict(zip(self._outputs, results, strict=True))
        scores_TBV = outputs[self.manifest.outputs[0].name]
        return scores_TBV[-1, 0].astype(np.float64), {spec.input: outputs[spec.output] for spec in self.manifest.states}
