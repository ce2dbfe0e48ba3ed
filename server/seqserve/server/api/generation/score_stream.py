"""The codec of StreamScore."""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from seqserve.server.api.fields import servable_id, timing
from seqserve.server.api.generation.requests import LOGPROBS_MAX, language_model
from seqserve.server.api.generation.responses import fill_step_logprobs
from seqserve.server.api.pieces import tokenize_chunk
from seqserve.server.api.stream_codec import StreamCodec
from seqserve.server.decoding.logprobs import ExactSum, StepReport, perplexity
from seqserve.server.engine.output_stream import OutputStream, StreamResult
from seqserve.server.engine.requests import ScoreStreamRequest
from seqserve.server.errors import InvalidFieldError
from seqserve.server.model.inputs import IntArray, token_inputs
from seqserve.server.model.sequence_state import FinalState, no_tokens
from seqserve.server.sessions import StateTransaction
from seqserve.server.settings import LimitSettings
from seqserve.server.text.detokenization import incomplete_suffix_after
from seqserve.server.text.incremental_tokenizer import IncrementalTokenizer, TokenChunk
from seqserve.server.text.tokenization import Token
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import state_pb2

_COUNT_AT = 4096  # tokens that gather before they are counted
_NOWHERE = Token("", 0, 0)  # where a token stands that came as an id


class ScoreStream(StreamCodec[pb.StreamScoreRequest, StepReport, pb.StreamScoreResponse]):
    """Converts one stream: text to tokens with their offsets, and scores to responses."""

    def __init__(self, config: pb.StreamScoreConfig, transaction: StateTransaction, limits: LimitSettings) -> None:
        """Raises: TaskMismatchError if the model is not a language model; InvalidFieldError."""
        if not 0 <= config.top_logprobs <= LOGPROBS_MAX:
            raise InvalidFieldError(
                f"config.top_logprobs must be in [0, {LOGPROBS_MAX}], got {config.top_logprobs}",
                field="config.top_logprobs",
            )
        self._model = transaction.model
        self._tokenization = language_model(transaction.model)
        self._limits = limits
        self.text = IncrementalTokenizer(self._tokenization)
        self._start = transaction.initial
        self._last_token = transaction.initial.last_token
        self._places: deque[Token] = deque()  # of the tokens that are to be told
        self._position = self._start.position + (self._last_token is None)  # of the next one to be told
        self._sum = ExactSum()
        self._scored = 0
        self._remembered = _Remembered(transaction) if transaction.wants_state else None
        self.request = ScoreStreamRequest(config.top_logprobs, transaction.initial, transaction.wants_state)

    def chunks(self, kind: str, message: pb.StreamScoreRequest) -> Iterator[TokenChunk]:
        """See StreamCodec."""
        tokens_max = self._model.manifest.limits.tokens_max
        return self._recorded(tokenize_chunk(kind, message, self.text, self._limits, tokens_max))

    def final_chunks(self) -> Iterator[TokenChunk]:
        """See StreamCodec."""
        return self._recorded(self.text.flush())

    def _recorded(self, chunks: Iterable[TokenChunk]) -> Iterator[TokenChunk]:
        """Puts the model's start token before the first token, and records where the tokens to be reported are."""
        for chunk in chunks:
            tokens: list[int] = chunk.inputs.tokens.tolist()
            places = chunk.tokens or [_NOWHERE] * len(tokens)
            if self._last_token is None and tokens:
                vocabulary = self._tokenization.vocabulary
                if vocabulary.HasField("start_token") and tokens[0] != vocabulary.start_token:
                    tokens = [vocabulary.start_token, *tokens]
                    chunk.inputs = token_inputs(tokens)
                else:
                    places = places[1:]  # a sequence's first token has no probability
            if tokens:
                self._places.extend(places)
                self._last_token = tokens[-1]
                if self._remembered is not None:
                    self._remembered.add(tokens)
                yield chunk

    def started(self) -> pb.StreamScoreResponse:
        """See StreamCodec."""
        return pb.StreamScoreResponse(
            started=pb.StreamScoreStarted(servable=servable_id(self._model.servable.id), position=self._start.position)
        )

    def take(self, output: OutputStream) -> Coroutine[Any, Any, list[StepReport]]:
        """See StreamCodec."""
        return output.take_reports()

    def response(self, outputs: list[StepReport]) -> pb.StreamScoreResponse:
        """See StreamCodec. Scores of the next tokens."""
        response = pb.StreamScoreResponse()
        piece, table = response.piece, self._model.table
        piece.position = self._position
        for report in outputs:
            fill_step_logprobs(piece.tokens.add(), report, table)
            offsets, place = piece.offsets.add(), self._places.popleft()
            if place.end:
                offsets.start, offsets.end = place.start, place.end
        self._position += len(outputs)
        self._scored += len(outputs)
        self._sum.add([report.chosen.logprob for report in outputs])
        return response

    def final_state(self, result: StreamResult) -> FinalState:
        """See StreamCodec."""
        position = self._start.position + result.steps
        if self._remembered is None:
            return FinalState(None, position, self._last_token, no_tokens())
        return self._remembered.final_state(result, position, self._last_token)

    def finished(
        self, result: StreamResult, state: state_pb2.StateResult, reason: common.StreamEnd
    ) -> pb.StreamScoreResponse:
        """See StreamCodec."""
        total = self._sum.value
        return pb.StreamScoreResponse(
            finished=pb.StreamScoreFinished(
                total=pb.SequenceScore(
                    logprob=total, scored_tokens=self._scored, perplexity=perplexity(total, self._scored)
                ),
                state=state,
                timing=timing(result.times),
                reason=reason,
            )
        )


class _Remembered:
    """Collects what a session stores about the tokens of a stream: the tokens themselves only if they are kept."""

    def __init__(self, transaction: StateTransaction) -> None:
        self._table = transaction.model.table
        self._keeps_tokens = transaction.keeps_tokens
        self._kept: list[IntArray] = []
        self._counts = transaction.initial.counts
        self._uncounted: list[int] = []
        self._undecoded = transaction.initial.undecoded

    def add(self, tokens: Sequence[int]) -> None:
        """Records more tokens."""
        self._undecoded = incomplete_suffix_after(tokens, self._table, self._undecoded)
        if self._keeps_tokens:
            self._kept.append(np.array(tokens, np.int32))
        self._uncounted += tokens
        if len(self._uncounted) >= _COUNT_AT:
            self._count()

    def final_state(self, end: StreamResult, position: int, last_token: int | None) -> FinalState:
        """Returns the final state of the stream."""
        self._count()
        kept = np.concatenate([no_tokens(), *self._kept])
        return FinalState(end.state, position, last_token, kept, undecoded=self._undecoded, counts=self._counts)

    def _count(self) -> None:
        self._counts = self._counts.plus(np.array(self._uncounted, np.int32), no_tokens())
        self._uncounted = []
