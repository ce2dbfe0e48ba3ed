"""StreamTag at random: many concurrent streams of all kinds, split anywhere, with the tags of their sentences."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import tagging_pb2 as pb
from tests.server.api.tagging.tag_streams import END, FLUSH, SENTENCE_END, Piece, TagCall, whole

WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "naïve", "国", "xray", "don"]
MODELS = ("uni", "uni-crf", "bi", "bi-crf")
LONGEST = 12  # tokens of a sentence


@dataclass
class Plan:
    """One stream: its config, its messages, and its sentences."""

    model: str
    config: dict[str, Any]
    sentences: list[Piece] = field(default_factory=list[Piece])
    pieces: list[Piece] = field(default_factory=list[Piece])


def planned(chance: random.Random) -> Plan:
    model = chance.choice(MODELS)
    config: dict[str, Any] = {}
    if model.startswith("bi") and chance.random() < 0.6:
        config = {"finality": pb.TAG_FINALITY_LOOKAHEAD, "lookahead": LONGEST + chance.randint(0, 3)}
    if model != "uni" and chance.random() < 0.3:
        config["provisional"] = True
    plan = Plan(model, config)
    as_words = chance.random() < 0.5
    for _ in range(chance.randint(0, 4)):
        words = [chance.choice(WORDS) for _ in range(chance.randint(1, LONGEST))]
        plan.sentences.append(words if as_words else " ".join(words))
        plan.pieces += [*cut(plan.sentences[-1], chance), SENTENCE_END]
        if chance.random() < 0.3:
            plan.pieces.append(FLUSH)
    if plan.pieces and chance.random() < 0.5:
        plan.pieces.pop()  # the stream's end ends the sentence too, or the flush before it changes nothing
    if chance.random() < 0.5:
        plan.pieces.append(END)
    return plan


def cut(sentence: Piece, chance: random.Random) -> list[Piece]:
    """A sentence in pieces, with flushes between words that were given as words."""
    found: list[Piece] = []
    assert not isinstance(sentence, pb.StreamTagRequest)
    start = 0
    while start < len(sentence):
        end = start + chance.randint(1, 6)
        found.append(sentence[start:end])
        start = end
        if not isinstance(sentence, str) and chance.random() < 0.1:
            found.append(FLUSH)
    return found


@pytest.fixture(scope="module")
def taggers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Taggers of one direction and of both, with a CRF and without. Do not change it."""
    from tests.servables import make_tagger  # torch takes seconds to import

    root = tmp_path_factory.mktemp("taggers")
    for model in MODELS:
        make_tagger(root / model, bidirectional=model.startswith("bi"), crf=model.endswith("crf"))
    return root


@pytest.mark.parametrize("seed", range(3))
async def test_64_streams_at_once_have_the_tags_of_their_sentences(taggers: Path, seed: int) -> None:
    plans = [planned(random.Random(64 * seed + number)) for number in range(64)]
    async with running_server(taggers) as address, grpc.aio.insecure_channel(address) as channel:
        together = await asyncio.gather(*(played(channel, plan) for plan in plans))
        for plan, tags in zip(plans, together, strict=True):
            sentences = await whole(channel, plan.model, *plan.sentences) if plan.sentences else []
            expected = [tag for sentence in sentences for tag in sentence.tags]
            assert [(tag.token, tag.label) for tag in tags] == [(tag.token, tag.label) for tag in expected], plan
            assert [tag.position for tag in tags] == list(range(len(tags)))
            if not plan.model.endswith("crf"):
                assert [tag.score for tag in tags] == [tag.score for tag in expected], plan


async def played(channel: grpc.aio.Channel, plan: Plan) -> list[pb.Tag]:
    """Returns the final tags of a stream, and checks that provisional tags belong to tokens without a final one."""
    call = TagCall(channel, plan.model, **plan.config)
    await call.begin()
    await call.send(*plan.pieces)
    tags, finished = await call.finish()
    final: list[pb.Tag] = []
    for tag in tags:
        assert tag.position == len(final) or (tag.provisional and tag.position > len(final))
        final += [] if tag.provisional else [tag]
    assert finished.tokens == len(final)
    assert finished.reason == common.STREAM_END_INPUT
    return final
