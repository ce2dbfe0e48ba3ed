"""Streams of StreamScore, as a caller sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub

Piece = str | Sequence[int]

FLUSH = pb.StreamScoreRequest(flush=common.Flush())
END = pb.StreamScoreRequest(end=common.EndOfInput())


def message(piece: Piece) -> pb.StreamScoreRequest:
    """Text or token ids."""
    if isinstance(piece, str):
        return pb.StreamScoreRequest(text=piece)
    return pb.StreamScoreRequest(token_ids=common.TokenIds(ids=piece))


@dataclass
class Scored:
    """What a stream was told, token by token, and how it ended."""

    steps: list[common.StepLogprobs] = field(default_factory=list[common.StepLogprobs])
    places: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    positions: list[int] = field(default_factory=list[int])
    finished: pb.StreamScoreFinished = field(default_factory=pb.StreamScoreFinished)

    def add(self, piece: pb.StreamScorePiece) -> None:
        assert len(piece.tokens) == len(piece.offsets) > 0
        self.steps += piece.tokens
        self.places += [(offsets.start, offsets.end) for offsets in piece.offsets]
        self.positions += range(piece.position, piece.position + len(piece.tokens))

    @property
    def ids(self) -> list[int]:
        return [step.chosen.token_id for step in self.steps]


class Scoring:
    """One stream that was begun; the events are read as the test wants them."""

    def __init__(self, channel: grpc.aio.Channel, model: str = "lstm", **config: Any) -> None:
        self.call: Any = GenerationServiceStub(channel).StreamScore()
        self.reported = Scored()
        self.config = pb.StreamScoreConfig(model=common.ModelRef(name=model), **config)

    async def begin(self) -> pb.StreamScoreStarted:
        """Send the config, and read that the stream was admitted."""
        await self.call.write(pb.StreamScoreRequest(config=self.config))
        event = await self.call.read()
        assert event.WhichOneof("event") == "started", event
        started: pb.StreamScoreStarted = event.started
        return started

    async def send(self, *pieces: Piece | pb.StreamScoreRequest) -> None:
        """Send pieces, or messages."""
        for piece in pieces:
            await self.call.write(piece if isinstance(piece, pb.StreamScoreRequest) else message(piece))

    async def scores(self, count: int) -> list[common.StepLogprobs]:
        """The scores of the next tokens, in however many messages they come."""
        have = len(self.reported.steps)
        while len(self.reported.steps) < have + count:
            event = await self.call.read()
            assert event.WhichOneof("event") == "piece", event
            self.reported.add(event.piece)
        assert len(self.reported.steps) == have + count
        return self.reported.steps[have:]

    async def finish(self) -> Scored:
        """Close the sending side and read to the end."""
        await self.call.done_writing()
        return await self.rest()

    async def rest(self) -> Scored:
        """Read to the end; all that was told since the beginning."""
        finished = False
        while (event := await self.call.read()) is not grpc.aio.EOF:
            assert not finished
            if finished := event.HasField("finished"):
                self.reported.finished = event.finished
            else:
                self.reported.add(event.piece)
        assert finished
        return self.reported


async def streamed(
    channel: grpc.aio.Channel, model: str, pieces: Iterable[Piece | pb.StreamScoreRequest], **config: Any
) -> Scored:
    """A whole stream."""
    stream = Scoring(channel, model, **config)
    await stream.begin()
    await stream.send(*pieces)
    return await stream.finish()


async def whole(channel: grpc.aio.Channel, model: str, text: Piece, top: int = 0, **fields: Any) -> pb.SequenceScore:
    """What Score says."""
    item = pb.ScoreInput(text=text) if isinstance(text, str) else pb.ScoreInput(token_ids=common.TokenIds(ids=text))
    answer = await GenerationServiceStub(channel).Score(
        pb.ScoreRequest(model=common.ModelRef(name=model), inputs=[item], logprobs=top, **fields)
    )
    (score,) = answer.scores
    return score


def assert_same(reported: Scored, expected: pb.SequenceScore) -> None:
    """To the bit: every token, its alternatives and the total."""
    assert reported.steps == list(expected.tokens)
    total = reported.finished.total
    assert (total.logprob, total.scored_tokens) == (expected.logprob, expected.scored_tokens)
    assert total.perplexity == expected.perplexity
