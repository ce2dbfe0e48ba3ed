"""StreamClassify: what the caller's messages mean, and what answers them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from seqserve.server.api.classification.requests import classification, classifier, top_labels
from seqserve.server.api.fields import servable_id, timing
from seqserve.server.api.pieces import tokenize_chunk
from seqserve.server.decoding.classification import label_probabilities
from seqserve.server.engine.output_stream import StreamChunk, StreamResult
from seqserve.server.engine.requests import StepStreamRequest
from seqserve.server.errors import TaskMismatchError
from seqserve.server.model.inputs import Inputs, IntArray
from seqserve.server.model.sequence_state import FinalState, no_tokens
from seqserve.server.sessions import StateTransaction
from seqserve.server.settings import LimitSettings
from seqserve.server.text.incremental_tokenizer import IncrementalTokenizer, TokenChunk
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2, state_pb2


class ClassifyStream:
    """One stream: its tokens as they come, and its answers."""

    def __init__(self, config: pb.StreamClassifyConfig, transaction: StateTransaction, limits: LimitSettings) -> None:
        """Raises: TaskMismatchError if the model is no classifier, or not one-directional; InvalidFieldError."""
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
        self._text = IncrementalTokenizer(tokenization)
        self._kept: list[IntArray] | None = [] if transaction.keeps_tokens else None
        self._steps = 0  # of the stream so far
        self._due = 0  # steps of the stream after which there is something to tell
        self._last: pb.Classification | None = None

    def steps(self, kind: str, message: pb.StreamClassifyRequest) -> Iterator[Inputs]:
        """What a message adds; after the last of it there is something to tell. Raises: as tokenize_chunk."""
        return self._counted(tokenize_chunk(kind, message, self._text, self._limits, self._tokens_max))

    def rest(self) -> Iterator[Inputs]:
        """What is settled by the stream's end."""
        return self._counted(self._text.flush())

    def started(self) -> pb.StreamClassifyResponse:
        """The stream was admitted."""
        return pb.StreamClassifyResponse(
            started=pb.StreamClassifyStarted(servable=servable_id(self._servable), position=self._position)
        )

    def update(self, steps: StreamChunk) -> pb.StreamClassifyResponse | None:
        """The answer after a piece; None within one. Args: steps: those that were read last."""
        count = steps.first + len(steps)
        if count != self._due or steps.scores is None:
            return None
        probabilities_L = label_probabilities(steps.scores, self._labels)[0]
        position = self._position + count
        self._last = classification(probabilities_L, self._labels, self._top, position)
        return pb.StreamClassifyResponse(update=pb.StreamClassifyUpdate(classification=self._last, position=position))

    def final_state(self, end: StreamResult) -> FinalState:
        """What the stream leaves."""
        return FinalState(
            end.state, self._position + end.steps, None, np.concatenate([no_tokens(), *(self._kept or ())])
        )

    def finished(
        self, end: StreamResult, result: state_pb2.StateResult, reason: common.StreamEnd
    ) -> pb.StreamClassifyResponse:
        """The end."""
        return pb.StreamClassifyResponse(
            finished=pb.StreamClassifyFinished(
                classification=self._last, state=result, timing=timing(end.times), reason=reason
            )
        )

    def _counted(self, found: Iterable[TokenChunk]) -> Iterator[Inputs]:
        inputs: Inputs | None = None
        for cut in found:
            if inputs is not None:
                yield self._count(inputs)
            inputs = cut.inputs
        if inputs is not None:
            self._due = self._steps + len(inputs)
            yield self._count(inputs)

    def _count(self, inputs: Inputs) -> Inputs:
        self._steps += len(inputs)
        if self._kept is not None:
            self._kept.append(inputs.arrays[manifest_pb2.TENSOR_ROLE_TOKENS].astype(np.int32))
        return inputs
