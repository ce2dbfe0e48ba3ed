"""Streams of StreamClassify, as a caller sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import grpc.aio

from seqserve.v1 import classification_pb2 as pb
from seqserve.v1 import common_pb2 as common
from seqserve.v1.classification_pb2_grpc import ClassificationServiceStub

Piece = str | Sequence[str] | Sequence[int]


def message(piece: Piece) -> pb.StreamClassifyRequest:
    """Text, words or token ids."""
    if isinstance(piece, str):
        return pb.StreamClassifyRequest(text=piece)
    if piece and isinstance(piece[0], int):
        return pb.StreamClassifyRequest(token_ids=common.TokenIds(ids=piece))  # type: ignore[arg-type]
    return pb.StreamClassifyRequest(words=common.Words(words=piece))  # type: ignore[arg-type]


FLUSH = pb.StreamClassifyRequest(flush=common.Flush())
END = pb.StreamClassifyRequest(end=common.EndOfInput())


class Classifying:
    """One stream that was begun; the events are read as the test wants them."""

    def __init__(self, channel: grpc.aio.Channel, model: str, **config: Any) -> None:
        self.call: Any = ClassificationServiceStub(channel).StreamClassify()
        self._config = pb.StreamClassifyConfig(model=common.ModelRef(name=model), **config)

    async def begin(self) -> pb.StreamClassifyStarted:
        """Send the config, and read that the stream was admitted."""
        await self.call.write(pb.StreamClassifyRequest(config=self._config))
        event = await self.call.read()
        assert event.WhichOneof("event") == "started"
        started: pb.StreamClassifyStarted = event.started
        return started

    async def send(self, *pieces: Piece | pb.StreamClassifyRequest) -> None:
        """Send pieces, or messages."""
        for piece in pieces:
            await self.call.write(piece if isinstance(piece, pb.StreamClassifyRequest) else message(piece))

    async def update(self) -> pb.StreamClassifyUpdate:
        """The next answer."""
        event = await self.call.read()
        assert event.WhichOneof("event") == "update", event
        update: pb.StreamClassifyUpdate = event.update
        return update

    async def finish(self) -> tuple[list[pb.StreamClassifyUpdate], pb.StreamClassifyFinished]:
        """Close the sending side and read to the end."""
        await self.call.done_writing()
        return await self.rest()

    async def rest(self) -> tuple[list[pb.StreamClassifyUpdate], pb.StreamClassifyFinished]:
        """Read to the end: the answers that had not been read, and how it ended."""
        events: list[pb.StreamClassifyResponse] = []
        while (event := await self.call.read()) is not grpc.aio.EOF:
            events.append(event)
        assert [event.WhichOneof("event") for event in events] == ["update"] * (len(events) - 1) + ["finished"]
        return [event.update for event in events[:-1]], events[-1].finished


async def streamed(
    channel: grpc.aio.Channel, model: str, pieces: Iterable[Piece], **config: Any
) -> tuple[list[pb.StreamClassifyUpdate], pb.StreamClassifyFinished]:
    """A whole stream: its answers, and how it ended."""
    stream = Classifying(channel, model, **config)
    await stream.begin()
    await stream.send(*pieces)
    return await stream.finish()


async def whole(channel: grpc.aio.Channel, model: str, text: Piece) -> pb.Classification:
    """What Classify says."""
    given = message(text)
    item = (
        pb.ClassifyInput(text=given.text)
        if given.WhichOneof("message") == "text"
        else pb.ClassifyInput(words=given.words)
        if given.WhichOneof("message") == "words"
        else pb.ClassifyInput(token_ids=given.token_ids)
    )
    answer = await ClassificationServiceStub(channel).Classify(
        pb.ClassifyRequest(model=common.ModelRef(name=model), inputs=[item])
    )
    (classification,) = answer.classifications
    return classification
