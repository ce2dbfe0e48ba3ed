"""Streamed final tags are the tags of whole sentences, on all of EWT dev, whatever the cutting of the text."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.training.data.conllu import read_conllu
from seqserve.v1 import tagging_pb2 as pb
from tests.server.api.tagging.tag_streams import SENTENCE_END, Piece, TagCall, whole

MODELS = Path(__file__).parents[2] / "models"
LONGEST = 200  # tokens: no sentence has more
INPUTS_MAX = 250  # in one request

FINALITY: dict[str, tuple[str, dict[str, Any]]] = {
    "forward": ("english-pos-live", {}),
    "sentence": ("english-pos", {}),
    "lookahead": ("english-pos", {"finality": pb.TAG_FINALITY_LOOKAHEAD, "lookahead": LONGEST}),
    "provisional": ("english-pos", {"finality": pb.TAG_FINALITY_LOOKAHEAD, "lookahead": LONGEST, "provisional": True}),
}


@pytest.mark.parametrize("kind", FINALITY)
async def test_streamed_tags_are_those_of_whole_sentences(data_dir: Path, kind: str) -> None:
    model, config = FINALITY[kind]
    texts = [sentence.text for sentence in read_conllu(data_dir / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz")]
    if kind == "provisional":
        texts = texts[:150]  # each piece gets a separate response, so this takes longer
    limits = {"lookahead_max": LONGEST}
    async with running_server(MODELS, limits=limits) as address, grpc.aio.insecure_channel(address) as channel:
        expected: list[pb.Tag] = []
        for start in range(0, len(texts), INPUTS_MAX):
            for tagged in await whole(channel, model, *texts[start : start + INPUTS_MAX]):
                expected += tagged.tags
        found = await streamed(channel, model, cut(texts, random.Random(kind)), **config)
    final = [tag for tag in found if not tag.provisional]
    assert (len(final) < len(found)) == (kind == "provisional")
    assert [(tag.token, tag.label, tag.score) for tag in final] == [
        (tag.token, tag.label, tag.score) for tag in expected
    ]
    assert [tag.position for tag in final] == list(range(len(final)))


def cut(texts: list[str], chance: random.Random) -> list[Piece]:
    """The texts in pieces of 1 to 20 characters, with the ends of sentences between them."""
    pieces: list[Piece] = []
    for text in texts:
        start = 0
        while start < len(text):
            end = start + chance.randint(1, 20)
            pieces.append(text[start:end])
            start = end
        pieces.append(SENTENCE_END)
    return pieces


async def streamed(channel: grpc.aio.Channel, model: str, pieces: list[Piece], **config: Any) -> list[pb.Tag]:
    """All tags of one stream, read while it is written."""
    call = TagCall(channel, model, **config)
    await call.begin()

    async def send() -> None:
        await call.send(*pieces)
        await call.call.done_writing()

    (tags, _), _ = await asyncio.gather(call.rest(), send())
    return tags
