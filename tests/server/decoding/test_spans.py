"""Spans of labels: those that training counts, whole and as the labels come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.decoding.spans import Span, SpanReader, spans_of
from seqserve.server.errors import TaskMismatchError
from seqserve.training.data.labels import spans
from seqserve.v1 import manifest_pb2 as pb

BIO = pb.Labels(names=["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], scheme=pb.LABEL_SCHEME_BIO)
BIOES = pb.Labels(
    names=["O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC") for prefix in "BIES")], scheme=pb.LABEL_SCHEME_BIOES
)


def indexes(row: str, labels: pb.Labels) -> list[int]:
    return [list(labels.names).index(name) for name in row.split()]


@st.composite
def sentences(draw: st.DrawFn) -> tuple[pb.Labels, list[list[int]]]:
    labels = draw(st.sampled_from([BIO, BIOES]))
    row = st.lists(st.integers(0, len(labels.names) - 1), max_size=12)
    return labels, draw(st.lists(row, max_size=4))


@given(sentences())
def test_spans_are_those_that_training_counts(made: tuple[pb.Labels, list[list[int]]]) -> None:
    labels, rows = made
    for row in rows:
        found = spans_of(row, [1.0] * len(row), labels)
        expected = spans([labels.names[label] for label in row], labels.scheme)
        assert [(span.first, span.last + 1, span.kind) for span in found] == [tuple(span) for span in expected]


@given(sentences(), st.data())
def test_spans_that_come_label_by_label_are_those_of_the_whole(
    made: tuple[pb.Labels, list[list[int]]], data: st.DataObject
) -> None:
    labels, rows = made
    reader, position = SpanReader(labels), 0
    for row in rows:
        scores = data.draw(st.lists(st.floats(0, 1), min_size=len(row), max_size=len(row)))
        found: list[Span] = []
        for label, score in zip(row, scores, strict=True):
            assert reader.first_open <= position
            came = reader.push([label], [score])
            assert all(span.last >= position - 1 for span in came), "told as soon as it is known"
            found += came
            position += 1
        found += reader.end()
        begun = position - len(row)
        assert found == [
            Span(span.first + begun, span.last + begun, span.kind, span.score) for span in spans_of(row, scores, labels)
        ]
        assert reader.first_open == position


def test_the_score_is_the_mean_of_its_tokens() -> None:
    found = spans_of(indexes("B-PER I-PER O B-LOC", BIO), [0.5, 1.0, 0.1, 0.25], BIO)
    assert found == [Span(0, 1, "PER", 0.75), Span(3, 3, "LOC", 0.25)]


def test_a_span_is_told_when_nothing_can_lengthen_it() -> None:
    reader = SpanReader(BIO)
    assert reader.push(indexes("B-PER I-PER", BIO), [1, 1]) == []
    assert reader.first_open == 0
    assert reader.push(indexes("O", BIO), [1]) == [Span(0, 1, "PER", 1)]
    closed = SpanReader(BIOES)
    assert closed.push(indexes("B-PER E-PER", BIOES), [1, 1]) == [Span(0, 1, "PER", 1)]


@pytest.mark.parametrize("scheme", [pb.LABEL_SCHEME_NONE, pb.LABEL_SCHEME_UNSPECIFIED])
def test_labels_that_are_neither_bio_nor_bioes_are_refused(scheme: pb.LabelScheme) -> None:
    with pytest.raises(TaskMismatchError, match=r"BIO or BIOES.*NOUN"):
        SpanReader(pb.Labels(names=["NOUN", "VERB"], scheme=scheme))
