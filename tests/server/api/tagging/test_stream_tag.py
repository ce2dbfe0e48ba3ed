"""StreamTag, as a caller sees it: the stream's final tags are those of the whole, and its ends are clean."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import tagging_pb2 as pb
from tests.server.api.tagging.tag_streams import END, FLUSH, SENTENCE_END, Piece, TagCall, streamed, whole

TEXT = "The cat sat on the mat. A naïve dog, 国! the dog sat"
WORDS = ["The", "cat", "sat", "on", "the", "mat", ".", "A", "naïve", "dog"]
ONE_WAY, BOTH_WAYS = ["uni", "uni-crf"], ["bi", "bi-crf"]
SPANS = ("O", "B-X", "I-X", "B-Y", "I-Y")
LOOKAHEAD = pb.TAG_FINALITY_LOOKAHEAD


@pytest.fixture(scope="module")
def taggers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Taggers of one direction and of both, with a CRF (BIO labels) and without. Do not change it."""
    from tests.servables import make_tagger  # torch takes seconds to import

    root = tmp_path_factory.mktemp("taggers")
    for name, bidirectional in (("uni", False), ("bi", True)):
        make_tagger(root / name, bidirectional=bidirectional)
        make_tagger(root / f"{name}-crf", bidirectional=bidirectional, crf=True, labels=SPANS)
    make_tagger(root / "ids", bidirectional=False, spelling=False)
    return root


@pytest.fixture
async def channel(taggers: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(taggers) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


def labels(tags: list[pb.Tag]) -> list[tuple[str, str, int, int, int]]:
    """What does not depend on when a tag was decided: all but the score."""
    return [(tag.token, tag.label, tag.offsets.start, tag.offsets.end, tag.position) for tag in tags]


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("model", [*ONE_WAY, *BOTH_WAYS])
async def test_a_streams_tags_are_those_of_the_whole(channel: grpc.aio.Channel, model: str, size: int) -> None:
    (expected,) = await whole(channel, model, TEXT)
    tags, _, finished = await streamed(channel, model, [TEXT[at : at + size] for at in range(0, len(TEXT), size)])
    assert not any(tag.provisional for tag in tags)
    if model == "uni-crf":  # its probabilities are those given what had come when a label was decided
        assert labels(tags) == labels(list(expected.tags))
    else:
        assert tags == list(expected.tags)
    assert (finished.tokens, finished.state.position) == (len(tags), len(tags))
    assert finished.reason == common.STREAM_END_INPUT
    assert finished.timing.total_ms >= finished.timing.first_output_ms >= finished.timing.queue_ms >= 0


async def test_one_direction_is_answered_at_once(channel: grpc.aio.Channel) -> None:
    call = TagCall(channel, "uni")
    started = await call.begin()
    assert (started.servable.model, started.servable.version, started.position) == ("uni", 1, 0)
    expected = (await whole(channel, "uni", WORDS))[0].tags
    for word, tag in zip(WORDS, expected, strict=True):
        await call.send([word])
        assert await call.tags(1) == [tag]
    assert (await call.finish())[0] == []


async def test_a_word_is_tagged_once_it_is_whole(channel: grpc.aio.Channel) -> None:
    call = TagCall(channel, "uni")
    await call.begin()
    await call.send("The c", "at", " s")
    assert [tag.token for tag in await call.tags(2)] == ["The", "cat"]
    await call.send(FLUSH)
    assert labels(await call.tags(1))[0][:1] == ("s",)


@pytest.mark.parametrize("model", [*ONE_WAY, *BOTH_WAYS])
async def test_a_sentence_starts_anew(channel: grpc.aio.Channel, model: str) -> None:
    first, second = await whole(channel, model, WORDS[:4], WORDS[4:7])
    tags, _, _ = await streamed(channel, model, [SENTENCE_END, WORDS[:4], SENTENCE_END, SENTENCE_END, WORDS[4:7]])
    assert [(tag.token, tag.label) for tag in tags] == [(tag.token, tag.label) for tag in [*first.tags, *second.tags]]
    assert [tag.position for tag in tags] == list(range(7))


async def test_the_end_of_a_sentence_is_answered_at_once(channel: grpc.aio.Channel) -> None:
    for model in ("bi", "bi-crf", "uni-crf"):
        call = TagCall(channel, model)
        await call.begin()
        await call.send(WORDS[:3], SENTENCE_END)
        assert labels(await call.tags(3)) == labels(list((await whole(channel, model, WORDS[:3]))[0].tags))
        assert (await call.finish())[0] == []


@pytest.mark.parametrize(
    ("rule", "sentences"),
    [
        (pb.SENTENCE_RULE_NEWLINE, ["the cat sat. ", "a dog.the mat"]),
        (pb.SENTENCE_RULE_PUNCTUATION, ["the cat sat.", "a dog.the mat"]),
        (pb.SENTENCE_RULE_CLIENT, ["the cat sat. \na dog.the mat"]),
    ],
)
async def test_a_rule_ends_sentences(channel: grpc.aio.Channel, rule: pb.SentenceRule, sentences: list[str]) -> None:
    expected = await whole(channel, "bi", *sentences)
    tags, _, _ = await streamed(channel, "bi", ["the cat sat. \n", "a dog.the mat"], sentence_rule=rule)
    assert [tag.label for tag in tags] == [tag.label for sentence in expected for tag in sentence.tags]


@pytest.mark.parametrize("lookahead", [0, 2, 64])
@pytest.mark.parametrize("model", BOTH_WAYS)
async def test_a_tag_is_final_when_its_future_is_there(channel: grpc.aio.Channel, model: str, lookahead: int) -> None:
    call = TagCall(
        channel, model, finality=LOOKAHEAD, lookahead=lookahead, decision_lag_max=0 if "crf" in model else None
    )
    await call.begin()
    tags: list[pb.Tag] = []
    for count, word in enumerate(WORDS, 1):
        await call.send([word])
        if count > lookahead:
            tags += await call.tags(1)
    tags += (await call.finish())[0]
    assert [tag.position for tag in tags] == list(range(len(WORDS)))
    if lookahead >= len(WORDS) and model == "bi":
        assert tags == list((await whole(channel, model, WORDS))[0].tags)
    again, _, _ = await streamed(
        channel,
        model,
        [WORDS],
        finality=LOOKAHEAD,
        lookahead=lookahead,
        decision_lag_max=0 if "crf" in model else None,
    )
    assert tags == again, "whatever the cuts"


async def test_provisional_tags_come_before_final_ones_which_never_change(channel: grpc.aio.Channel) -> None:
    for model, config in (
        ("bi", {"finality": LOOKAHEAD, "lookahead": 3}),
        ("bi", {}),
        ("bi-crf", {"finality": LOOKAHEAD, "lookahead": 3}),
        ("bi-crf", {}),
        ("uni-crf", {}),
    ):
        call = TagCall(channel, model, provisional=True, **config)
        await call.begin()
        final, seen = list[pb.Tag](), set[int]()
        for count, word in enumerate(WORDS, 1):
            await call.send([word])
            while len(seen) < count:
                event = await call.call.read()
                for tag in event.piece.tags:
                    seen.add(tag.position)
                    assert tag.token == WORDS[tag.position]
                    assert tag.position >= len(final)
                    final += [] if tag.provisional else [tag]
        final += [tag for tag in (await call.finish())[0] if not tag.provisional]
        unasked, _, _ = await streamed(channel, model, [[word] for word in WORDS], **config)
        assert final == unasked


async def test_a_flush_answers_what_was_sent(channel: grpc.aio.Channel) -> None:
    for model, config in (
        ("bi", {}),
        ("bi", {"finality": LOOKAHEAD, "lookahead": 8}),
        ("bi-crf", {"finality": LOOKAHEAD, "lookahead": 8}),
        ("bi-crf", {}),
        ("uni-crf", {}),
    ):
        call = TagCall(channel, model, **config)
        await call.begin()
        await call.send(WORDS[:4], FLUSH)
        answered: set[int] = set()
        while len(answered) < 4:
            answered |= {tag.position for tag in (await call.call.read()).piece.tags}
        await call.send(WORDS[4:])
        tags, _ = await call.finish()
        final = [tag for tag in tags if not tag.provisional]
        unasked, _, _ = await streamed(channel, model, [WORDS], **config)
        assert final == unasked[len(unasked) - len(final) :], "a flush decides nothing"


async def test_top_labels_and_bytes_are_as_whole_texts_have_them(channel: grpc.aio.Channel) -> None:
    outputs = pb.TagOutputs(top_labels=3, offset_unit=common.OFFSET_UNIT_BYTE)
    for model in ("uni", "bi", "bi-crf"):
        (expected,) = await whole(channel, model, TEXT, top_labels=3, offset_unit=common.OFFSET_UNIT_BYTE)
        tags, _, _ = await streamed(channel, model, [TEXT[:20], TEXT[20:]], outputs=outputs)
        assert tags == list(expected.tags)


@pytest.mark.parametrize("unit", [common.OFFSET_UNIT_CHARACTER, common.OFFSET_UNIT_BYTE])
@pytest.mark.parametrize("pieces", [[TEXT], list(TEXT), [WORDS], [[word] for word in WORDS]])
async def test_spans_are_those_of_the_whole(
    channel: grpc.aio.Channel, unit: common.OffsetUnit, pieces: list[Piece]
) -> None:
    given: Piece = TEXT if isinstance(pieces[0], str) else WORDS
    for model in ("bi-crf", "uni-crf"):
        (expected,) = await whole(channel, model, given, spans=True, offset_unit=unit)
        _, spans, _ = await streamed(channel, model, pieces, outputs=pb.TagOutputs(spans=True, offset_unit=unit))
        for span, other in zip(spans, expected.spans, strict=True):
            if model == "uni-crf":
                span.score = other.score
            else:
                assert span.score == pytest.approx(other.score, rel=1e-6)
                span.score = other.score
        assert spans == list(expected.spans)
        assert spans


async def test_ids_have_no_text_and_no_offsets(channel: grpc.aio.Channel) -> None:
    tags, _, _ = await streamed(channel, "ids", [[1, 2], [3]])
    assert tags == list((await whole(channel, "ids", [1, 2, 3]))[0].tags)
    assert not any(tag.token or tag.HasField("offsets") for tag in tags)


@pytest.mark.parametrize("ends", ["half-close", "end", "idle"])
@pytest.mark.parametrize("model", [*ONE_WAY, *BOTH_WAYS])
async def test_every_end_answers_everything(channel: grpc.aio.Channel, model: str, ends: str) -> None:
    config = {"idle_timeout": {"nanos": 200_000_000}} if ends == "idle" else {}
    call = TagCall(channel, model, **config)
    await call.begin()
    await call.send("The cat", " sat o")
    if ends == "end":
        await call.send(END)
    tags, finished = await (call.finish() if ends == "half-close" else call.rest())
    assert labels(tags) == labels(list((await whole(channel, model, "The cat sat o"))[0].tags))
    assert finished.tokens == 4
    assert finished.reason == (common.STREAM_END_IDLE if ends == "idle" else common.STREAM_END_INPUT)


async def test_a_stream_without_input_is_empty(channel: grpc.aio.Channel) -> None:
    for model in (*ONE_WAY, *BOTH_WAYS):
        tags, _, finished = await streamed(channel, model, [FLUSH, SENTENCE_END])
        assert (tags, finished.tokens) == ([], 0)
