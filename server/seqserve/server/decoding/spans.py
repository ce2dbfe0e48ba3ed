"""Spans out of labels that write them, BIO or BIOES, of a whole sentence or as labels come.

Read strictly: what no B- or S- begins is no span, nor, in BIOES, what no E- ends. These are the rules by which training
counts its span F1 (`seqserve.training.data.labels`), and those of seqeval's strict mode (schemes IOB2 and IOBES).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seqserve.server.errors import TaskMismatchError
from seqserve.v1 import manifest_pb2 as pb


@dataclass(frozen=True, slots=True)
class Span:
    """Several tokens that are one thing: positions of first and last, what it is, the mean score of its tokens."""

    first: int
    last: int
    kind: str
    score: float


@dataclass(slots=True)
class _Open:
    """A span that has begun: position of its first token, its kind, the sum of the scores so far."""

    first: int
    kind: str
    total: float


class SpanReader:
    """Reads the labels of one sentence after another. Holds a few numbers, whatever the length.

    Positions count all labels that were pushed, from 0.
    """

    def __init__(self, labels: pb.Labels) -> None:
        """Args: labels: a manifest's. Raises: TaskMismatchError if they write no spans."""
        if labels.scheme not in (pb.LABEL_SCHEME_BIO, pb.LABEL_SCHEME_BIOES):
            raise TaskMismatchError(
                f"the labels of this model ({', '.join(labels.names[:3])}, …) write no spans, they are neither BIO nor "
                "BIOES; ask for tags without spans"
            )
        self._ends_by_itself = labels.scheme == pb.LABEL_SCHEME_BIO
        self._parts = [(name[0], name[2:]) for name in labels.names]
        self._open: _Open | None = None
        self._position = 0

    @property
    def first_open(self) -> int:
        """Position of the first label that a later span may still have: of the open span, or of the next label."""
        return self._position if self._open is None else self._open.first

    def push(self, labels: Iterable[int], scores: Iterable[float]) -> list[Span]:
        """The spans that are known to be whole with these further labels, in order.

        Args: labels: their indexes; scores: the probability of each.
        """
        found: list[Span] = []
        for label, score in zip(labels, scores, strict=True):
            prefix, kind = self._parts[label]
            if self._open is not None and prefix in "IE" and kind == self._open.kind:
                self._open.total += score
                if prefix == "E":
                    found.append(self._closed(self._open, self._position))
            else:
                found += self._cut()
                if prefix == "B":
                    self._open = _Open(self._position, kind, score)
                elif prefix == "S":
                    found.append(Span(self._position, self._position, kind, score))
            self._position += 1
        return found

    def end(self) -> list[Span]:
        """The sentence ends: the span that ends with it, if one does."""
        return self._cut()

    def _cut(self) -> list[Span]:
        """What is open goes on no further: a span in BIO, none in BIOES."""
        if self._open is not None and self._ends_by_itself:
            return [self._closed(self._open, self._position - 1)]
        self._open = None
        return []

    def _closed(self, span: _Open, last: int) -> Span:
        self._open = None
        return Span(span.first, last, span.kind, span.total / (last - span.first + 1))


def spans_of(labels: Iterable[int], scores: Iterable[float], names: pb.Labels) -> list[Span]:
    """The spans of a whole sentence, in order. Args: as for `SpanReader.push`; names: a manifest's labels.

    Raises: TaskMismatchError if the labels write no spans.
    """
    reader = SpanReader(names)
    return [*reader.push(labels, scores), *reader.end()]
