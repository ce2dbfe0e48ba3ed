"""StreamTag: what the caller's messages mean, and what answers them.

The feeding side puts tokens in, on the event loop; the answering side takes them out as their labels come, on whatever
thread. They share the line of tokens and that of their texts for spans, which one makes longer at the end and the other
shorter at the beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from seqserve.server.api.fields import servable_id, timing
from seqserve.server.api.pieces import tokenize_chunk
from seqserve.server.api.stream_codec import StreamCodec
from seqserve.server.api.tagging.spans import StreamSpans
from seqserve.server.api.tagging.stream_config import tag_plan
from seqserve.server.decoding.stream_labeler import StreamLabeler, stream_labeler
from seqserve.server.decoding.tagging import LabelChoices, chain_of
from seqserve.server.engine.output_stream import OutputStream, StreamChunk, StreamResult
from seqserve.server.engine.requests import StepStreamRequest
from seqserve.server.model.inputs import IntArray
from seqserve.server.model.sequence_state import FinalState, Sentence, no_tokens
from seqserve.server.model.state import FloatArray
from seqserve.server.sessions import StateTransaction
from seqserve.server.settings import LimitSettings
from seqserve.server.text.incremental_tokenizer import IncrementalTokenizer, TokenChunk
from seqserve.server.text.tokenization import Token
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import state_pb2
from seqserve.v1 import tagging_pb2 as pb

_BYTES_PER_TAG = 32  # of a response, about
_TAGS_PER_DECISION = 16  # that could be made while a CRF decides one


class TagStream(StreamCodec[pb.StreamTagRequest, StreamChunk, pb.StreamTagResponse]):
    """One stream: its tokens as they come, and their tags."""

    passes_flushes: ClassVar[bool] = True

    def __init__(self, config: pb.StreamTagConfig, transaction: StateTransaction, limits: LimitSettings) -> None:
        """Raises: TaskMismatchError if the model does not support the config; InvalidFieldError."""
        model, start = transaction.model, transaction.initial
        self._plan = plan = tag_plan(config, model, limits)
        labels, self._bidirectional = model.manifest.labels, model.manifest.network.bidirectional
        chain, top = chain_of(labels), plan.outputs.top_labels
        self.request = StepStreamRequest(
            start,
            keeps_state=transaction.wants_state,
            lookahead=plan.lookahead,
            provisional=plan.provisional and self._bidirectional,
            top=top if chain is None else None,
        )
        self._servable = model.servable.id
        self._names = list(labels.names)
        self._limits = limits
        self._tokens_max = model.manifest.limits.tokens_max
        self._goes_on = (
            transaction.wants_state or transaction.already_applied
        )  # a repeated stream ends as the first one did
        unit = plan.outputs.offset_unit
        self.text = IncrementalTokenizer(
            plan.tokenization,
            plan.rule,
            offsets_in_bytes=unit == common.OFFSET_UNIT_BYTE,
            begun=start.sentence.position < start.position,
        )
        self._spans = StreamSpans(labels, unit, start.position) if plan.outputs.spans else None
        whole, last = plan.lookahead is None, start.sentence.last_label
        self._labeler: StreamLabeler | None = None  # without a CRF each step's label comes with it
        if chain is not None:
            self._labeler = stream_labeler(chain, top, whole=whole, lag_max=plan.lag_max, last_label=last)
        self._kept: list[IntArray] | None = [] if transaction.keeps_tokens else None
        self._tokens = deque[Token | None]()  # without final tags; None for ids
        self._begun = self._position = start.position  # of the stream's first token, and of the next one to be answered
        self._sentence = start.sentence.position

    def chunks(self, kind: str, message: pb.StreamTagRequest) -> Iterator[TokenChunk]:
        """See StreamCodec."""
        chunks = tokenize_chunk(kind, message, self.text, self._limits, self._tokens_max)
        if self._spans is not None:
            self._spans.add_text(message)
        return self._recorded(chunks)

    def final_chunks(self) -> Iterator[TokenChunk]:
        """See StreamCodec."""
        return self._recorded(self.text.flush())

    def _recorded(self, chunks: Iterable[TokenChunk]) -> Iterator[TokenChunk]:
        """Records tokens before they are pushed."""
        for chunk in chunks:
            count = len(chunk.inputs)
            if self._spans is not None:
                self._spans.add_tokens(chunk.tokens)
            self._tokens += chunk.tokens or [None] * count
            if self._kept is not None and count:
                self._kept.append(chunk.inputs.tokens)
            yield chunk

    def started(self) -> pb.StreamTagResponse:
        """See StreamCodec."""
        return pb.StreamTagResponse(
            started=pb.StreamTagStarted(servable=servable_id(self._servable), position=self._begun)
        )

    def take(self, output: OutputStream) -> Coroutine[Any, Any, list[StreamChunk]]:
        """See StreamCodec."""
        return output.take_chunks()

    def response_bytes(self, outputs: list[StreamChunk]) -> int:
        """See StreamCodec. With a CRF, the tags that could be made while it decides."""
        tags = sum(map(len, outputs)) if self._labeler is None else _TAGS_PER_DECISION * len(self._tokens)
        return tags * _BYTES_PER_TAG

    def response(self, outputs: list[StreamChunk]) -> pb.StreamTagResponse | None:
        """What the graph's answers tell, all that have gathered in one message; None if it is nothing yet."""
        response = pb.StreamTagResponse()
        message = response.piece
        final: list[FloatArray] = []
        for steps in outputs:
            if steps.provisional:
                self._settle(message, final)
                self._add_provisional(message, steps)
                final = []
                continue
            if steps.labels is not None:
                self._final(message, steps.labels)
            elif steps.scores is not None:
                final.append(steps.scores)
            if steps.ends_sentence:
                self._settle(message, final)
                self._end(message)
                final = []
        self._settle(message, final)
        if self._plan.provisional and not self._bidirectional:
            self._add_provisional(message, StreamChunk(0))
        return response if message.tags or message.spans else None

    def last_response(self) -> pb.StreamTagResponse | None:
        """What the stream's end decides; None if everything was."""
        response = pb.StreamTagResponse()
        message = response.piece
        self._end(message, sentence=not self._goes_on)
        return response if message.tags or message.spans else None

    def final_state(self, result: StreamResult) -> FinalState:
        """See StreamCodec."""
        sentence = Sentence(self._sentence, None if self._labeler is None else self._labeler.last_label)
        tokens = np.concatenate([no_tokens(), *(self._kept or ())])
        return FinalState(result.state, self._begun + result.steps, None, tokens, sentence=sentence)

    def finished(
        self, result: StreamResult, state: state_pb2.StateResult, reason: common.StreamEnd
    ) -> pb.StreamTagResponse:
        """See StreamCodec."""
        return pb.StreamTagResponse(
            finished=pb.StreamTagFinished(tokens=result.steps, state=state, timing=timing(result.times), reason=reason)
        )

    def _settle(self, message: pb.StreamTagPiece, scores: list[FloatArray]) -> None:
        """See final scores, of a model with a CRF."""
        if scores and self._labeler is not None:
            self._final(message, self._labeler.push(np.concatenate(scores) if len(scores) > 1 else scores[0]))

    def _end(self, message: pb.StreamTagPiece, *, sentence: bool = True) -> None:
        """The sentence ends, or the stream within it."""
        if self._labeler is not None:
            self._final(message, self._labeler.end(sentence=sentence))
        if self._spans is not None:
            message.spans.extend(self._spans.end())
        if sentence:
            self._sentence = self._position

    def _add_provisional(self, message: pb.StreamTagPiece, steps: StreamChunk) -> None:
        """Tell what may still change. Args: steps: perhaps none, whose scores may change too."""
        if self._labeler is None:
            choices = steps.labels or LabelChoices([], [], [])
        else:
            nothing = np.empty((0, len(self._names)), np.float32)
            choices = self._labeler.provisional(nothing if steps.scores is None else steps.scores)
        self._fill(message, choices, [self._tokens[place] for place in range(len(choices))], provisional=True)

    def _final(self, message: pb.StreamTagPiece, choices: LabelChoices) -> None:
        tokens = [self._tokens.popleft() for _ in choices.labels]
        self._fill(message, choices, tokens)
        self._position += len(tokens)
        if self._spans is not None:
            message.spans.extend(self._spans.push(tokens, choices))

    def _fill(
        self,
        message: pb.StreamTagPiece,
        choices: LabelChoices,
        tokens: list[Token | None],
        *,
        provisional: bool = False,
    ) -> None:
        names, add = self._names, message.tags.add
        for position, (token, label, score, top) in enumerate(
            zip(tokens, choices.labels, choices.scores, choices.top, strict=True), self._position
        ):
            tag = add()
            tag.label, tag.score, tag.position = names[label], score, position
            if provisional:
                tag.provisional = True
            if token is not None:
                tag.token = token.text
                offsets = tag.offsets
                offsets.start, offsets.end = token.start, token.end
            if top:
                tag.top.extend(common.LabelScore(label=names[each], score=value) for each, value in top)
