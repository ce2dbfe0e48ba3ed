"""However a text is cut into pieces, the last answer of its stream is what Classify says of the whole."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqserve.server.testing import running_server
from seqserve.v1 import classification_pb2 as pb
from tests.server.api.classification.classifying import FLUSH, Classifying, whole

PARTS = st.sampled_from(["the", "cat", "dog", "sat", "on", "mat", "naïve", "国", "2026", "can't", "x" * 40])
BETWEEN = st.sampled_from([" ", ", ", ".\n", "  ", " 国", "-", "\t"])


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[str], bool]:
    """A text in pieces, and whether a flush comes before each of its sentences of white space."""
    words = draw(st.lists(PARTS, min_size=1, max_size=60))
    text = "".join(part for word in words for part in (word, draw(BETWEEN)))
    places = draw(st.lists(st.integers(1, len(text)), max_size=12).map(lambda cuts: sorted({0, *cuts, len(text)})))
    return [text[start:end] for start, end in pairwise(places)], draw(st.booleans())


def alike(one: pb.Classification, other: pb.Classification, tolerance: float) -> None:
    assert one.tokens == other.tokens
    scores, expected = ({label.label: label.score for label in each.labels} for each in (one, other))
    assert scores == pytest.approx(expected, abs=tolerance)
    if not tolerance:
        assert one == other


# What attention sums is scaled by the greatest weight so far, so its last bits depend on the cuts.
@pytest.mark.parametrize(
    ("name", "tolerance"), [("last", 0), ("mean", 0), ("max", 0), ("attention", 1e-6), ("speller", 0)]
)
def test_the_last_answer_is_that_of_the_whole(tmp_path: Path, name: str, tolerance: float) -> None:
    from tests.servables import make_classifier  # torch takes seconds to import

    pooling = "max" if name == "speller" else name
    make_classifier(tmp_path / name, bidirectional=False, pooling=pooling, spelling=name == "speller")

    async def check(channel: grpc.aio.Channel, pieces: list[str], flushes: bool) -> None:
        stream = Classifying(channel, name)
        await stream.begin()
        for piece in pieces:
            await stream.send(piece)
            if flushes and piece[-1].isspace():
                await stream.send(FLUSH)
        updates, finished = await stream.finish()
        expected = await whole(channel, name, "".join(pieces))
        alike(finished.classification, expected, tolerance)
        assert updates[-1].classification == finished.classification
        assert [update.position for update in updates] == sorted({update.position for update in updates})

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        address = runner.run(stack.enter_async_context(running_server(tmp_path, batch={"steps_ahead_max": 3})))
        channel = runner.run(stack.enter_async_context(grpc.aio.insecure_channel(address)))

        @settings(max_examples=25)
        @given(texts())
        def every_text(cut: tuple[list[str], bool]) -> None:
            runner.run(check(channel, *cut))

        try:
            every_text()
        finally:
            runner.run(stack.aclose())
