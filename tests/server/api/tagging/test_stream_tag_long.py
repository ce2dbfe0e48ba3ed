"""StreamTag without an end: a long stream takes no more memory than a short one."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import tagging_pb2 as pb
from tests.server.api.tagging.tag_streams import TagCall

PIECE = "The cat sat on the mat. A naïve dog sat. " * 4
TOKENS = 48
WAITING_MAX = 40  # tokens that may wait for more, for any of the streams below
LINES = {"sentence_rule": pb.SENTENCE_RULE_PUNCTUATION}
SPANS = pb.TagOutputs(spans=True, top_labels=2, offset_unit=common.OFFSET_UNIT_BYTE)


@pytest.fixture(scope="module")
def taggers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.servables import make_tagger  # torch takes seconds to import

    root = tmp_path_factory.mktemp("taggers")
    labels = ("O", "B-X", "I-X", "B-Y", "I-Y")
    make_tagger(root / "one-way", bidirectional=False, crf=True, labels=labels)
    make_tagger(root / "both-ways", labels=labels)
    return root


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("one-way", {**LINES, "outputs": SPANS}),
        ("one-way", {"decision_lag_max": 20, "outputs": SPANS, "provisional": True}),
        ("both-ways", {**LINES, "outputs": SPANS}),
        ("both-ways", {"finality": pb.TAG_FINALITY_LOOKAHEAD, "lookahead": 4, "outputs": SPANS}),
    ],
)
async def test_a_stream_that_never_ends_takes_no_more_memory_than_a_short_one(
    taggers: Path, model: str, config: dict[str, Any]
) -> None:
    async with running_server(taggers) as address, grpc.aio.insecure_channel(address) as channel:
        call = TagCall(channel, model, **config)
        await call.begin()
        sent = answered = 0

        async def send(pieces: int) -> int:
            nonlocal sent, answered
            for _ in range(pieces):
                await call.send(PIECE)
                sent += TOKENS
                while answered < sent - WAITING_MAX:
                    event = await call.call.read()
                    answered += sum(not tag.provisional for tag in event.piece.tags)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await send(100)  # caches, and lists of the allocator, grow up to here
            after = await send(60)
        finally:
            tracemalloc.stop()
        assert after - before < 50_000  # bytes, for 2,880 tokens
        _, finished = await call.finish()
        assert finished.tokens == sent
