"""The spans of a stream hold no more of the text than they may need, and never without a limit."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from seqserve.server.api.tagging.spans import StreamSpans
from seqserve.server.decoding.tagging import LabelChoices
from seqserve.server.text.tokenization import Token
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2
from seqserve.v1 import tagging_pb2 as pb

BIO = manifest_pb2.Labels(names=["O", "B-X", "I-X"], scheme=manifest_pb2.LABEL_SCHEME_BIO)
CHARACTER, BYTE = common.OFFSET_UNIT_CHARACTER, common.OFFSET_UNIT_BYTE


def pushed(spans: StreamSpans, labels: str, first: int) -> Iterator[pb.TagSpan]:
    """Say and label tokens `naïve` with a space after each: b begins a span, i continues it, o is outside."""
    for place, label in enumerate(labels, first):
        spans.add_text(pb.StreamTagRequest(text="naïve "))
        token = Token("naïve", 6 * place, 6 * place + 5)
        spans.add_tokens([token])
        yield from spans.push([token], LabelChoices(["obi".index(label)], [1.0], [[]]))


def test_a_span_has_the_text_as_it_was_sent() -> None:
    spans = StreamSpans(BIO, CHARACTER, 100)
    (reported,) = pushed(spans, "obio", 0)
    assert (reported.text, reported.label, reported.first_position, reported.last_position) == (
        "naïve naïve",
        "X",
        101,
        102,
    )
    assert (reported.offsets.start, reported.offsets.end) == (6, 17)
    assert list(pushed(spans, "bi", 4)) == []
    assert [span.text for span in spans.end()] == ["naïve naïve"]


@pytest.mark.parametrize("longer", [False, True])
def test_a_span_that_is_too_long_has_no_text(longer: bool) -> None:
    tokens = (1 << 16) // 6 + longer
    spans = StreamSpans(BIO, CHARACTER, 0)
    assert list(pushed(spans, "b" + "i" * (tokens - 1), 0)) == []
    (reported,) = spans.end()
    assert (reported.offsets.start, reported.offsets.end, reported.last_position) == (0, 6 * tokens - 1, tokens - 1)
    assert reported.text == ("" if longer else "naïve " * (tokens - 1) + "naïve")
    (after,) = pushed(spans, "bo", tokens)
    assert after.text == "naïve"


def test_a_piece_that_is_longer_than_a_span_may_be_has_spans_with_text() -> None:
    spans = StreamSpans(BIO, CHARACTER, 0)
    spans.add_text(pb.StreamTagRequest(text="naïve " * (1 << 15)))
    tokens = [Token("naïve", 6 * place, 6 * place + 5) for place in range(1 << 15)]
    spans.add_tokens(tokens)
    for place, token in enumerate(tokens[:3]):
        received_spans = list(spans.push([token], LabelChoices([1], [1.0], [[]])))
        assert [span.text for span in received_spans] == ["naïve"] * (place > 0)


@pytest.mark.parametrize("labels", ["i" * 5000, "o" * 5000, "bi" * 2500])
def test_no_stream_of_labels_makes_it_hold_more_and_more(labels: str) -> None:
    spans = StreamSpans(BIO, CHARACTER, 0)
    tracemalloc.start()
    try:
        assert sum(1 for _ in pushed(spans, "b" + labels, 0)) <= 2500
        held = tracemalloc.get_traced_memory()[0]
        for turn in range(1, 5):
            assert sum(1 for _ in pushed(spans, labels, len(labels) * turn + 1)) <= 2500
        assert tracemalloc.get_traced_memory()[0] - held < 6 * (1 << 16)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("unit", "width"), [(CHARACTER, 5), (BYTE, 6)])
def test_white_space_without_end_is_not_held_nor_part_of_a_text(unit: common.OffsetUnit, width: int) -> None:
    """A span over so much of it has no text; those before and after it have."""
    spans = StreamSpans(BIO, unit, 0)
    before = [Token("naïve", 0, width), Token("naïve", width + 1, 2 * width + 1)]
    spans.add_text(pb.StreamTagRequest(text="naïve naïve"))
    spans.add_tokens(before)
    blank = pb.StreamTagRequest(text=" " * 100_000)
    tracemalloc.start()
    try:
        for _ in range(100):
            spans.add_text(blank)
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    start = 2 * width + 1 + 100 * 100_000
    after = [
        Token("naïve", start, start + width),
        Token("国", start + width + 1, start + width + (2 if width == 5 else 4)),
    ]
    spans.add_text(pb.StreamTagRequest(text="naïve 国 "))
    spans.add_tokens(after)
    reported = [*spans.push([*before, *after], LabelChoices([1, 1, 2, 1], [1.0] * 4, [[]] * 4)), *spans.end()]
    assert [span.text for span in reported] == ["naïve", "", "国"]
    assert [(span.offsets.start, span.offsets.end) for span in reported] == [
        (0, width),
        (width + 1, start + width),
        (after[1].start, after[1].end),
    ]


def test_ids_have_spans_without_text() -> None:
    spans = StreamSpans(BIO, BYTE, 0)
    spans.add_text(pb.StreamTagRequest(token_ids=common.TokenIds(ids=[1, 2])))
    (reported,) = spans.push([None, None], LabelChoices([1, 0], [0.5, 1.0], [[], []]))
    assert (reported.first_position, reported.last_position, reported.score, reported.text) == (0, 0, 0.5, "")
    assert not reported.HasField("offsets")
