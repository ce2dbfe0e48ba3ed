"""The codec of StreamClassify."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from seqserve.server.api.classification.requests import classification, classifier, top_labels
from seqserve.server.api.fields import servable_id, timing
from seqserve.server.api.pieces import tokenize_chunk
from seqserve.server.api.stream_codec import StreamCodec
from seqserve.server.decoding.classification import label_probabilities
from seqserve.server.engine.output_stream import OutputStream, StreamChunk, StreamResult
from seqserve.server.engine.requests import StepStreamRequest
from seqserve.server.errors import TaskMismatchError
from seqserve.server.model.inputs import IntArray
from seqserve.server.model.sequence_state import FinalState, no_tokens
from seqserve.server.sessions import StateTransaction
from seqserve.server.settings import LimitSettings
from seqserve.server.text.incremental_tokenizer import IncrementalTokenizer, TokenChunk
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import state_pb2


class ClassifyStream(StreamCodec[pb.StreamClassifyRequest, StreamChunk, pb.StreamClassifyResponse]):
    """Converts one stream: text to tokens, and class scores to updates."""

    waits_for_each_message: ClassVar[bool] = True

    def __init__(self, config: pb.StreamClassifyConfig, transaction: StateTransaction, limits: LimitSettings) -> None:
        """Raises: TaskMismatchError if the model is not a one-directional classifier; InvalidFieldError."""
        model, tokenization = transaction.model, classifier(transaction.model)
        if model.manifest.network.bidirectional:
            raise TaskMismatchError(
                f"model {model.servable.id.model!r} reads its input in both directions, so each piece would change "
                "what it made of all before; send the whole text to Classify, or choose a one-directional classifier"
            )
        self.request = StepStreamRequest(transaction.initial, keeps_state=transaction.wants_state)
        self._servable = model.servable.id
        self._labels = model.manifest.labels
        self._top = top_labels(config, model, "config")
        self._limits = limits
        self._tokens_max = model.manifest.limits.tokens_max
        self._position = transaction.initial.position
        self.text = IncrementalTokenizer(tokenization)
        self._kept: list[IntArray] | None = [] if transaction.keeps_tokens else None
        self._steps = 0  # of the stream so far
        self._due = 0  # steps of the stream after which there is something to tell
        self._last: pb.Classification | None = None

    def chunks(self, kind: str, message: pb.StreamClassifyRequest) -> Iterator[TokenChunk]:
        """See StreamCodec. After the last chunk there is an update."""
        return self._counted(tokenize_chunk(kind, message, self.text, self._limits, self._tokens_max))

    def final_chunks(self) -> Iterator[TokenChunk]:
        """See StreamCodec."""
        return self._counted(self.text.flush())

    def started(self) -> pb.StreamClassifyResponse:
        """See StreamCodec."""
        return pb.StreamClassifyResponse(
            started=pb.StreamClassifyStarted(servable=servable_id(self._servable), position=self._position)
        )

    def take(self, output: OutputStream) -> Coroutine[Any, Any, list[StreamChunk]]:
        """See StreamCodec."""
        return output.take_chunks()

    def response(self, outputs: list[StreamChunk]) -> pb.StreamClassifyResponse | None:
        """See StreamCodec. An update after each message's tokens, none between them."""
        steps = outputs[-1]
        count = steps.first + len(steps)
        if count != self._due or steps.scores is None:
            return None
        probabilities_L = label_probabilities(steps.scores, self._labels)[0]
        position = self._position + count
        self._last = classification(probabilities_L, self._labels, self._top, position)
        return pb.StreamClassifyResponse(update=pb.StreamClassifyUpdate(classification=self._last, position=position))

    def final_state(self, result: StreamResult) -> FinalState:
        """See StreamCodec."""
        return FinalState(
            result.state, self._position + result.steps, None, np.concatenate([no_tokens(), *(self._kept or ())])
        )

    def finished(
        self, result: StreamResult, state: state_pb2.StateResult, reason: common.StreamEnd
    ) -> pb.StreamClassifyResponse:
        """See StreamCodec."""
        return pb.StreamClassifyResponse(
            finished=pb.StreamClassifyFinished(
                classification=self._last, state=state, timing=timing(result.times), reason=reason
            )
        )

    def _counted(self, chunks: Iterable[TokenChunk]) -> Iterator[TokenChunk]:
        """Counts the steps of a message; the last chunk's end is when the next update is due."""
        previous: TokenChunk | None = None
        for chunk in chunks:
            if previous is not None:
                yield self._count(previous)
            previous = chunk
        if previous is not None:
            self._due = self._steps + len(previous.inputs)
            yield self._count(previous)

    def _count(self, chunk: TokenChunk) -> TokenChunk:
        self._steps += len(chunk.inputs)
        if self._kept is not None:
            self._kept.append(chunk.inputs.tokens)
        return chunk
