"""StreamScore, as a caller sees it: what Score says of the whole, token by token as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import collect
from tests.server.api.generation.generating import asks
from tests.server.api.generation.scoring import END, FLUSH, Scored, Scoring, assert_same, streamed, whole

LEVELS = ["character", "byte", "bpe", "word"]
MODELS = [*LEVELS, *(f"{level}-start" for level in LEVELS), "gru"]
TEXT = "the naïve cat sat on a mat, and 国 dogs sat there. "


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of each level, with and without a start token, and `gru`. Do not change it."""
    from seqserve.training.config import CellKind  # torch takes seconds to import
    from tests.servables import make_language_model

    root = tmp_path_factory.mktemp("models")
    small: dict[str, Any] = {"layers": 1, "hidden_size": 8, "vocabulary_max": 290}
    for level in LEVELS:
        make_language_model(root / level, level=level, **small)
        make_language_model(root / f"{level}-start", level=level, start_token=True, **small)
    make_language_model(root / "gru", cell=CellKind.GRU, level="character", **small)
    return root


@pytest.fixture
async def channel(models: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(models) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


async def test_each_token_is_answered_before_the_next_is_sent(channel: grpc.aio.Channel) -> None:
    expected = await whole(channel, "character", TEXT, top=3)
    stream = Scoring(channel, "character", top_logprobs=3)
    started = await stream.begin()
    assert (started.servable.model, started.servable.version, started.position) == ("character", 1, 0)
    await stream.send(TEXT[0])  # a new sequence's first token has no probability
    for place, character in enumerate(TEXT[1:]):
        await stream.send(character)
        (step,) = await stream.scores(1)
        assert step == expected.tokens[place]
    reported = await stream.finish()
    assert_same(reported, expected)
    assert reported.positions == list(range(1, len(TEXT)))
    assert [TEXT[start:end] for start, end in reported.places] == list(TEXT[1:])
    assert reported.finished.reason == common.STREAM_END_INPUT
    assert reported.finished.state.position == len(TEXT)
    timing = reported.finished.timing
    assert timing.total_ms >= timing.first_output_ms >= timing.queue_ms >= 0


@pytest.mark.parametrize("model", MODELS)
def test_however_a_text_is_cut_its_scores_are_those_of_the_whole(models: Path, model: str) -> None:
    text = TEXT * 3

    async def check(channel: grpc.aio.Channel, expected: pb.SequenceScore, cuts: list[int]) -> None:
        bounds = sorted({0, *cuts, len(text)})
        neighbours = [asyncio.create_task(streamed(channel, model, [TEXT[:count]])) for count in (5, 9)]
        reported = await streamed(channel, model, [text[start:end] for start, end in pairwise(bounds)], top_logprobs=3)
        assert_same(reported, expected)
        assert reported.finished.state.position == reported.positions[-1] + 1
        await asyncio.gather(*neighbours)

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def serve() -> tuple[grpc.aio.Channel, pb.SequenceScore]:
            address = await stack.enter_async_context(running_server(models))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            return channel, await whole(channel, model, text, top=3)

        channel, expected = runner.run(serve())

        @settings(max_examples=15)
        @given(cuts=st.lists(st.integers(0, len(text)), max_size=30))
        def check_cuts(cuts: list[int]) -> None:
            runner.run(check(channel, expected, cuts))

        try:
            check_cuts()
        finally:
            runner.run(stack.aclose())


@pytest.mark.parametrize("level", LEVELS)
async def test_every_token_is_found_in_the_text(channel: grpc.aio.Channel, level: str) -> None:
    for model in (level, f"{level}-start"):
        reported = await streamed(channel, model, list(TEXT))
        if model.endswith("-start"):  # the text's first token is scored too
            assert reported.places[0][0] == 0
            assert reported.positions[0] == 1
        for (start, end), step in zip(reported.places, reported.steps, strict=True):
            token = step.chosen.token
            assert token == TEXT[start:end] or "\ufffd" in token
        assert reported.places[-1][1] == len(TEXT)


async def test_token_ids_are_scored_as_they_are(channel: grpc.aio.Channel) -> None:
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    reported = await streamed(channel, "byte", [ids[:1], ids[1:4], ids[4:]], top_logprobs=2)
    assert_same(reported, await whole(channel, "byte", ids, top=2))
    assert reported.places == [(0, 0)] * 7


async def test_streams_and_texts_beside_each_other_do_not_show(channel: grpc.aio.Channel) -> None:
    expected = await whole(channel, "character", TEXT)
    text = await collect(GenerationServiceStub(channel).Generate(asks("the cat", "character")))

    async def slowly(first: int) -> Scored:
        stream = Scoring(channel, "character")
        await stream.begin()
        await stream.send(TEXT[:first])
        for character in TEXT[first:]:
            await stream.send(character)
            await stream.scores((len(stream.reported.steps) == 0 and first) or 1)
        return await stream.finish()

    streams = [asyncio.create_task(slowly(1 + index % 5)) for index in range(12)]
    texts = [collect(GenerationServiceStub(channel).Generate(asks("the cat", "character"))) for _ in range(4)]
    assert {answer.text for answer in await asyncio.gather(*texts)} == {text.text}
    for reported in await asyncio.gather(*streams):
        assert_same(reported, expected)


async def test_a_word_that_may_go_on_waits_for_what_follows_or_for_a_flush(channel: grpc.aio.Channel) -> None:
    stream = Scoring(channel, "word")
    await stream.begin()
    await stream.send("the cat", " sat")
    await stream.scores(1)  # ` cat`
    await stream.send(FLUSH)
    (step,) = await stream.scores(1)
    assert step.chosen.token == " sat"
    assert stream.reported.places[-1] == (7, 11)
    reported = await stream.finish()
    assert len(reported.steps) == 2


@pytest.mark.parametrize("model", ["character", "word"])
async def test_both_ways_to_end_a_stream_answer_everything(channel: grpc.aio.Channel, model: str) -> None:
    expected = await whole(channel, model, TEXT)
    stream = Scoring(channel, model)
    await stream.begin()
    await stream.send(*TEXT, END)
    assert_same(await stream.rest(), expected)  # the sending side is still open
    assert_same(await streamed(channel, model, TEXT), expected)


async def test_an_idle_stream_ends_as_if_its_caller_had_ended_it(models: Path) -> None:
    async with (
        running_server(models, limits={"stream_idle_s": 0.2}) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stream = Scoring(channel, "word")
        await stream.begin()
        await stream.send(TEXT.rstrip())
        reported = await stream.rest()
        assert reported.finished.reason == common.STREAM_END_IDLE
        assert_same(reported, await whole(channel, "word", TEXT.rstrip()))


@pytest.mark.parametrize("model", ["character", "character-start"])
async def test_a_stream_without_input_has_no_scores(channel: grpc.aio.Channel, model: str) -> None:
    reported = await streamed(channel, model, [])
    assert reported.steps == []
    assert reported.finished.state.position == 0
    assert (reported.finished.total.scored_tokens, reported.finished.total.perplexity) == (0, 1.0)
