"""The naive way to serve streams: each stream has its state, and each token is one run of the graph."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import numpy as np
import numpy.typing as npt

from benchmarks.baselines.naive_model import NaiveModel
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2, tagging_pb2
from seqserve.v1.tagging_pb2_grpc import TaggingServiceServicer


class NaiveTaggingServicer(TaggingServiceServicer):
    """Tags token by token, each stream separately."""

    def __init__(self, model: NaiveModel) -> None:
        self._model = model

    async def StreamTag(  # noqa: N802 - the contract defines the name
        self, request_iterator: AsyncIterator[tagging_pb2.StreamTagRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[tagging_pb2.StreamTagResponse]:
        """Runs the graph once per token."""
        del context
        labels = self._model.manifest.labels.names
        await anext(request_iterator)
        yield tagging_pb2.StreamTagResponse(started=tagging_pb2.StreamTagStarted())
        state, position = self._model.initial_state(), 0
        async for message in request_iterator:
            for token in message.token_ids.ids:
                scores, state = await self._model.run([token], state)
                probabilities = np.exp(log_softmax(scores))
                best = int(probabilities.argmax())
                tag = tagging_pb2.Tag(
                    label=labels[best],
                    score=float(probabilities[best]),
                    position=position,
                )
                yield tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece(tags=[tag]))
                position += 1
        yield tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished(tokens=position))


async def stream_score(
    model: NaiveModel, messages: AsyncIterator[generation_pb2.StreamScoreRequest]
) -> AsyncIterator[generation_pb2.StreamScoreResponse]:
    """Answers a stream of scores: runs the graph once per token and scores the next token with its outputs."""
    await anext(messages)
    yield generation_pb2.StreamScoreResponse(started=generation_pb2.StreamScoreStarted())
    state, position, last = model.initial_state(), 0, None
    async for message in messages:
        for token in message.token_ids.ids:
            if last is not None:
                scores, state = await model.run([last], state)
                logprobs = log_softmax(scores)
                chosen = common.TokenLogprob(
                    token_id=token,
                    token=model.tokenizer.id_to_token(token),
                    logprob=float(logprobs[token]),
                    rank=1 + int((logprobs > logprobs[token]).sum()),
                )
                piece = generation_pb2.StreamScorePiece(
                    tokens=[common.StepLogprobs(chosen=chosen)], position=position, offsets=[common.Offsets()]
                )
                yield generation_pb2.StreamScoreResponse(piece=piece)
            last = token
            position += 1
    yield generation_pb2.StreamScoreResponse(finished=generation_pb2.StreamScoreFinished())


def log_softmax(scores_V: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the log-probabilities of scores, (V,)."""
    shifted_V: npt.NDArray[np.float64] = scores_V - scores_V.max()
    return shifted_V - float(np.log(np.exp(shifted_V).sum()))
