"""Spans as seqeval 1.2.2 reads them in strict mode: the table was made with its schemes IOB2 and IOBES."""

import pytest

from seqserve.training.data.labels import Span, scheme_of, spans
from seqserve.training.evaluation.figures import Confusion, SpanCounts
from seqserve.v1 import manifest_pb2

BIO, BIOES, NONE = manifest_pb2.LABEL_SCHEME_BIO, manifest_pb2.LABEL_SCHEME_BIOES, manifest_pb2.LABEL_SCHEME_NONE


@pytest.mark.parametrize(
    ("scheme", "labels", "found"),
    [
        (BIO, "B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        (BIO, "I-PER I-PER O", []),
        (BIO, "B-PER I-LOC O", [(0, 1, "PER")]),
        (BIO, "B-PER B-PER I-PER", [(0, 1, "PER"), (1, 3, "PER")]),
        (BIO, "B-PER O I-PER", [(0, 1, "PER")]),
        (BIO, "O O", []),
        (BIO, "B-LOC I-LOC I-PER I-LOC", [(0, 2, "LOC")]),
        (BIO, "B-PER", [(0, 1, "PER")]),
        (BIOES, "B-PER E-PER O S-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        (BIOES, "B-PER I-PER O", []),
        (BIOES, "B-PER I-PER E-PER E-PER", [(0, 3, "PER")]),
        (BIOES, "S-PER E-PER S-LOC", [(0, 1, "PER"), (2, 3, "LOC")]),
        (BIOES, "B-PER E-LOC", []),
        (BIOES, "I-PER E-PER", []),
        (BIOES, "B-PER B-PER E-PER", [(1, 3, "PER")]),
        (BIOES, "B-PER I-LOC E-PER S-PER", [(3, 4, "PER")]),
        (BIOES, "S-LOC I-LOC E-LOC", [(0, 1, "LOC")]),
    ],
)
def test_spans_are_those_of_seqeval(
    scheme: manifest_pb2.LabelScheme, labels: str, found: list[tuple[int, int, str]]
) -> None:
    assert list(spans(labels.split(), scheme)) == [Span(*span) for span in found]


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        (("O", "B-PER", "I-PER"), BIO),
        (("O", "B-PER"), BIO),
        (("O", "B-PER", "I-PER", "E-PER", "S-PER"), BIOES),
        (("O", "S-PER"), BIOES),
        (("NOUN", "VERB"), NONE),
        (("O", "X-PER", "B-PER"), NONE),
        (("O", "I-PER"), NONE),
        (("B", "I", "O"), NONE),
    ],
)
def test_a_scheme_shows_in_its_labels(labels: tuple[str, ...], scheme: manifest_pb2.LabelScheme) -> None:
    assert scheme_of(labels) == scheme


def test_f1_counts_spans_that_are_right_in_place_and_kind() -> None:
    counts = SpanCounts()
    counts.add(["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "I-PER", "O", "B-PER"], BIO)
    counts.add(["B-LOC", "O", "O"], ["B-LOC", "I-LOC", "B-LOC"], BIO)
    assert counts.figures == {"span_precision": 1 / 4, "span_recall": 1 / 3, "span_f1": 2 / 7}


def test_no_spans_at_all_give_zero() -> None:
    assert SpanCounts().figures == {"span_precision": 0, "span_recall": 0, "span_f1": 0}


def test_a_confusion_is_a_table_of_what_was_given_and_found() -> None:
    confusion = Confusion()
    confusion.add("AAB", "ABB")
    confusion.add("C", "A")
    assert confusion.labels == ["A", "B", "C"]
    assert confusion.rows() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert confusion.table().splitlines()[2:] == ["| A | 1 | 1 | 0 |", "| B | 0 | 1 | 0 |", "| C | 1 | 0 | 0 |"]


def test_a_label_that_is_never_predicted_lowers_macro_f1() -> None:
    """An accuracy of 0.8 hid that a classifier never said "spam"."""
    confusion = Confusion()
    confusion.add(["ham"] * 8 + ["spam"] * 2, ["ham"] * 10)
    labels = confusion.per_label()
    assert labels["ham"] == {"precision": 0.8, "recall": 1.0, "f1": pytest.approx(16 / 18), "support": 8}
    assert labels["spam"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}
    assert confusion.macro_f1() == pytest.approx(8 / 18)
