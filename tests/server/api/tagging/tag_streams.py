"""Streams of StreamTag, as a caller sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import grpc.aio

from seqserve.v1 import common_pb2 as common
from seqserve.v1 import tagging_pb2 as pb
from seqserve.v1.tagging_pb2_grpc import TaggingServiceStub

SENTENCE_END = pb.StreamTagRequest(sentence_end=pb.SentenceEnd())
FLUSH = pb.StreamTagRequest(flush=common.Flush())
END = pb.StreamTagRequest(end=common.EndOfInput())

Piece = str | Sequence[str] | Sequence[int] | pb.StreamTagRequest


def message(piece: Piece) -> pb.StreamTagRequest:
    """Converts text, words, or token IDs to a message; a message stays as it is."""
    if isinstance(piece, pb.StreamTagRequest):
        return piece
    if isinstance(piece, str):
        return pb.StreamTagRequest(text=piece)
    if piece and isinstance(piece[0], int):
        return pb.StreamTagRequest(token_ids=common.TokenIds(ids=piece))  # type: ignore[arg-type]
    return pb.StreamTagRequest(words=common.Words(words=piece))  # type: ignore[arg-type]


class TagCall:
    """One stream that was begun; its answers are read as the test wants them."""

    def __init__(self, channel: grpc.aio.Channel, model: str, **config: Any) -> None:
        self.call: Any = TaggingServiceStub(channel).StreamTag()
        self.config = pb.StreamTagConfig(model=common.ModelRef(name=model), **config)
        self.spans: list[pb.TagSpan] = []

    async def begin(self) -> pb.StreamTagStarted:
        """Send the config, and read that the stream was admitted."""
        await self.call.write(pb.StreamTagRequest(config=self.config))
        event = await self.call.read()
        assert event.WhichOneof("event") == "started"
        started: pb.StreamTagStarted = event.started
        return started

    async def send(self, *pieces: Piece) -> None:
        """Send pieces, or messages."""
        for piece in pieces:
            await self.call.write(message(piece))

    async def tags(self, count: int) -> list[pb.Tag]:
        """Returns exactly this number of next tags; spans are set aside."""
        found: list[pb.Tag] = []
        while len(found) < count:
            event = await self.call.read()
            assert event.WhichOneof("event") == "piece", event
            found += event.piece.tags
            self.spans += event.piece.spans
        assert len(found) == count
        return found

    async def finish(self) -> tuple[list[pb.Tag], pb.StreamTagFinished]:
        """Close the sending side and read to the end."""
        await self.call.done_writing()
        return await self.rest()

    async def rest(self) -> tuple[list[pb.Tag], pb.StreamTagFinished]:
        """Read to the end: the tags that had not been read, and how it ended."""
        found: list[pb.Tag] = []
        while (event := await self.call.read()).WhichOneof("event") == "piece":
            assert event.piece.tags or event.piece.spans
            found += event.piece.tags
            self.spans += event.piece.spans
        assert event.WhichOneof("event") == "finished"
        assert await self.call.read() is grpc.aio.EOF
        finished: pb.StreamTagFinished = event.finished
        return found, finished


async def streamed(
    channel: grpc.aio.Channel, model: str, pieces: Iterable[Piece], **config: Any
) -> tuple[list[pb.Tag], list[pb.TagSpan], pb.StreamTagFinished]:
    """A whole stream: its tags, its spans, and how it ended."""
    call = TagCall(channel, model, **config)
    await call.begin()
    await call.send(*pieces)
    tags, finished = await call.finish()
    return tags, call.spans, finished


async def whole(channel: grpc.aio.Channel, model: str, *texts: Piece, **outputs: Any) -> list[pb.TaggedSequence]:
    """What Tag says of texts."""
    given = [message(text) for text in texts]
    answer = await TaggingServiceStub(channel).Tag(
        pb.TagRequest(
            model=common.ModelRef(name=model),
            inputs=[
                pb.TagInput(text=each.text)
                if each.WhichOneof("message") == "text"
                else pb.TagInput(words=each.words)
                if each.WhichOneof("message") == "words"
                else pb.TagInput(token_ids=each.token_ids)
                for each in given
            ],
            outputs=pb.TagOutputs(**outputs),
        )
    )
    return list(answer.sequences)
