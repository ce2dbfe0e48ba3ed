"""The server that most people would write: grpc.aio, one `run` of the graph per token and request.

It speaks the same contract, as much of it as the load generator uses: text in, temperature, seed and max_tokens;
started, a message a token, finished. Each request has its own state. `--executor` runs the graph in asyncio's thread
pool, as people do who have read that nothing may block the event loop; `--no-executor` runs it on the event loop.
`--threads 0` leaves ONNX Runtime's options as they come. The best of the four is the default (64 callers, LSTM 2 x 512;
tokens/s in two rounds, on 2 cores that others used too):

    executor, 1 thread      1006   991        event loop, 1 thread    746   612
    executor, as it comes   1053   689        event loop, as it comes 725   790
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

import grpc.aio
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from google.protobuf import json_format
from tokenizers import Tokenizer

from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import generation_pb2_grpc as services
from seqserve.v1 import manifest_pb2

Feed: TypeAlias = dict[str, npt.NDArray[Any]]


class NaiveServicer(services.GenerationServiceServicer):
    """Generates token by token, each request for itself."""

    def __init__(self, servable: Path, threads: int, *, executor: bool) -> None:
        """Args: threads: inside one run; 0 leaves it to ONNX Runtime. executor: run the graph in a thread pool."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(str(servable / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(servable / "tokenizer.json"))
        self._manifest = json_format.Parse((servable / "manifest.json").read_bytes(), manifest_pb2.Manifest())
        self._tokens, self._lengths = (spec.name for spec in self._manifest.inputs)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._executor = executor

    async def Generate(  # noqa: N802 - the name is the contract's
        self, request: pb.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Read the prompt in one run, then run once a token."""
        del context
        generator = np.random.default_rng(request.sampling.seed)
        prompt = self._tokenizer.encode(request.text).ids
        state: Feed = {
            spec.input: np.zeros((spec.directions, 1, spec.size), np.float32) for spec in self._manifest.states
        }
        yield pb.GenerateResponse(
            started=pb.GenerationStarted(seed=request.sampling.seed, prompt_tokens=len(prompt), position=len(prompt))
        )
        tokens = prompt
        for index in range(request.stopping.max_tokens):
            feed = {self._tokens: np.array([tokens], np.int32).T, self._lengths: np.array([len(tokens)], np.int32)}
            logits, state = await self._run(feed | state)
            scaled = logits / request.sampling.temperature
            exponentials = np.exp(scaled - scaled.max())
            token = int(generator.choice(len(scaled), p=exponentials / exponentials.sum()))
            text = self._tokenizer.decode([token])
            yield pb.GenerateResponse(
                piece=pb.GenerationPiece(text=text, token_ids=[token], position=len(prompt) + index)
            )
            tokens = [token]
        yield pb.GenerateResponse(
            finished=pb.GenerationFinished(
                samples=[pb.SampleFinished(reason=pb.FINISH_REASON_LENGTH, tokens=request.stopping.max_tokens)],
                prompt_tokens=len(prompt),
                generated_tokens=request.stopping.max_tokens,
            )
        )

    async def _run(self, feed: Feed) -> tuple[npt.NDArray[np.float64], Feed]:
        """The last step's logits (V,) and the new state."""
        if self._executor:
            results = await asyncio.get_running_loop().run_in_executor(None, self._session.run, None, feed)
        else:
            results = self._session.run(None, feed)
        outputs = dict(zip(self._outputs, results, strict=True))
        logits_TBV = outputs[self._manifest.outputs[0].name]
        return logits_TBV[-1, 0].astype(np.float64), {
            spec.input: outputs[spec.output] for spec in self._manifest.states
        }


async def serve(servicer: NaiveServicer) -> None:
    """Serve on a free port until killed; print one line when ready."""
    server = grpc.aio.server()
    services.add_GenerationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"naive ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m benchmarks.naive", description="The server most would write.")
    _parser.add_argument("servable", type=Path)
    _parser.add_argument(
        "--threads", type=int, default=1, help="inside one run; 0: ONNX Runtime's choice (%(default)s)"
    )
    _parser.add_argument("--executor", action=argparse.BooleanOptionalAction, default=True)
    _arguments = _parser.parse_args()
    asyncio.run(serve(NaiveServicer(_arguments.servable, _arguments.threads, executor=_arguments.executor)))
