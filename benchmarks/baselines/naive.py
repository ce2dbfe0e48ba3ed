"""The naive server: grpc.aio, and one run of the graph per token and request.

It implements the part of the contract that the load generator uses: text, temperature, seed and max_tokens in;
started, one message per token, and finished out; streams of token ids to score, or to tag with a tagger
(`naive_streams`). Each request has its own state. `--executor` runs the graph in asyncio's thread pool, which keeps the
event loop free; `--no-executor` runs it on the event loop. `--threads 0` keeps the default of ONNX Runtime. The best of
the four combinations is the default (64 callers, LSTM 2 x 512; tokens/s in two rounds, on 2 cores with other load):

    executor, 1 thread          1006   991        event loop, 1 thread         746   612
    executor, default threads   1053   689        event loop, default threads  725   790
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from benchmarks.baselines.naive_model import NaiveModel
from benchmarks.baselines.naive_streams import NaiveTaggingServicer, stream_score
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceServicer, add_GenerationServiceServicer_to_server
from seqserve.v1.tagging_pb2_grpc import add_TaggingServiceServicer_to_server

Context = grpc.aio.ServicerContext[Any, Any]


class NaiveServicer(GenerationServiceServicer):
    """Generates token by token, each request separately."""

    def __init__(self, model: NaiveModel) -> None:
        self._model = model

    async def Generate(  # noqa: N802 - the contract defines the name
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Runs the prompt at once, then runs the graph once per token."""
        del context
        generator = np.random.default_rng(request.sampling.seed)
        prompt = self._model.tokenizer.encode(request.text).ids
        state = self._model.initial_state()
        yield pb.GenerateResponse(
            started=pb.GenerationStarted(seed=request.sampling.seed, prompt_tokens=len(prompt), position=len(prompt))
        )
        tokens = prompt
        for index in range(request.stopping.max_tokens):
            logits, state = await self._model.run(tokens, state)
            scaled = logits / request.sampling.temperature
            exponentials = np.exp(scaled - scaled.max())
            token = int(generator.choice(len(scaled), p=exponentials / exponentials.sum()))
            text = self._model.tokenizer.decode([token])
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

    async def StreamScore(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.StreamScoreRequest], context: Context
    ) -> AsyncIterator[pb.StreamScoreResponse]:
        """Runs the graph once per message."""
        del context
        async for answer in stream_score(self._model, request_iterator):
            yield answer


async def serve(model: NaiveModel) -> None:
    """Serves on a free port until killed; prints one line when ready."""
    server = grpc.aio.server()
    if model.manifest.task == manifest_pb2.TASK_TAGGING:
        add_TaggingServiceServicer_to_server(NaiveTaggingServicer(model), server)
    else:
        add_GenerationServiceServicer_to_server(NaiveServicer(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"naive ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def main(argv: Sequence[str]) -> None:
    """Serves, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks naive", description="The naive server.")
    parser.add_argument("servable", type=Path)
    parser.add_argument(
        "--threads", type=int, default=1, help="inside one run; 0: ONNX Runtime's default (%(default)s)"
    )
    parser.add_argument("--executor", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args(argv)
    asyncio.run(serve(NaiveModel(arguments.servable, arguments.threads, executor=arguments.executor)))
