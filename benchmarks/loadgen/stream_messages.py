"""Messages of both sides of a tag stream and a score stream: one token per message each way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness.model import CHARACTERS, NAME, TAGGER
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2, tagging_pb2

STARTED, PIECE = 0x0A, 0x12  # first bytes of an answer: tags (number << 3 | wire type) of its fields
_POSITION = 1000  # takes two bytes, as most positions of a measurement do


@dataclass(frozen=True, slots=True)
class StreamKind:
    """The serialized messages of one kind of stream.

    Attributes:
        method: Full name of the RPC.
        opening: First message of the caller.
        first: First message with tokens, which gets exactly one answer.
        tokens: For each token id, the message with that token.
        ending: Last message of the caller.
        started: First answer of a server.
        piece: Answer to one token.
        finished: Last answer of a server.
    """

    method: str
    opening: bytes
    first: bytes
    tokens: Sequence[bytes]
    ending: bytes
    started: bytes
    piece: bytes
    finished: bytes


def _tag() -> StreamKind:
    def message(ids: Sequence[int]) -> bytes:
        return tagging_pb2.StreamTagRequest(token_ids=common.TokenIds(ids=ids)).SerializeToString()

    config = tagging_pb2.StreamTagConfig(model=common.ModelRef(name=TAGGER))
    tag = tagging_pb2.Tag(label="L11", score=0.06, position=_POSITION)
    return StreamKind(
        method="/seqserve.v1.TaggingService/StreamTag",
        opening=tagging_pb2.StreamTagRequest(config=config).SerializeToString(),
        first=message([1]),
        tokens=[message([token]) for token in range(len(CHARACTERS))],
        ending=tagging_pb2.StreamTagRequest(end=common.EndOfInput()).SerializeToString(),
        started=tagging_pb2.StreamTagResponse(started=tagging_pb2.StreamTagStarted()).SerializeToString(),
        piece=tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece(tags=[tag])).SerializeToString(),
        finished=tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished()).SerializeToString(),
    )


def _score() -> StreamKind:
    def message(ids: Sequence[int]) -> bytes:
        return generation_pb2.StreamScoreRequest(token_ids=common.TokenIds(ids=ids)).SerializeToString()

    config = generation_pb2.StreamScoreConfig(model=common.ModelRef(name=NAME))
    token = common.TokenLogprob(token_id=42, token="J", logprob=-4.5, rank=42)
    piece = generation_pb2.StreamScorePiece(
        tokens=[common.StepLogprobs(chosen=token)], position=_POSITION, offsets=[common.Offsets()]
    )
    return StreamKind(
        method="/seqserve.v1.GenerationService/StreamScore",
        opening=generation_pb2.StreamScoreRequest(config=config).SerializeToString(),
        first=message([1, 2]),  # a sequence's first token has no probability
        tokens=[message([token]) for token in range(len(CHARACTERS))],
        ending=generation_pb2.StreamScoreRequest(end=common.EndOfInput()).SerializeToString(),
        started=generation_pb2.StreamScoreResponse(started=generation_pb2.StreamScoreStarted()).SerializeToString(),
        piece=generation_pb2.StreamScoreResponse(piece=piece).SerializeToString(),
        finished=generation_pb2.StreamScoreResponse(finished=generation_pb2.StreamScoreFinished()).SerializeToString(),
    )


STREAMS = {"tag": _tag(), "score": _score()}
