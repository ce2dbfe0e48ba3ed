"""Spans from BIO or BIOES labels, of a whole sentence or as labels arrive.

The labels are read strictly: a span begins with B or S and, in BIOES, ends with E or S; other labels are not part of a
span. Training counts its span F1 by the same rules (`seqserve.training.data.labels`), which are those of seqeval's
strict mode (schemes IOB2 and IOBES).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seqserve.server.errors import TaskMismatchError
from seqserve.server.model.manifest import Labels, LabelScheme


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens that form one entity.

    Attributes:
        first: Position of its first token.
        last: Position of its last token.
        kind: Its type.
        score: The mean score of its tokens.
    """

    first: int
    last: int
    kind: str
    score: float


@dataclass(slots=True)
class _Open:
    """A span that has begun.

    Attributes:
        first: Position of its first token.
        kind: Its type.
        total: Sum of the scores so far.
    """

    first: int
    kind: str
    total: float


class SpanReader:
    """Reads the labels of one sentence after another, in constant memory.

    Positions count all labels that were pushed, from 0.
    """

    def __init__(self, labels: Labels) -> None:
        """Makes a reader.

        Args:
            labels: A manifest's labels.

        Raises:
            TaskMismatchError: The labels are neither BIO nor BIOES.
        """
        if labels.scheme not in (LabelScheme.LABEL_SCHEME_BIO, LabelScheme.LABEL_SCHEME_BIOES):
            raise TaskMismatchError(
                f"labels of this model must be BIO or BIOES for spans, got {', '.join(labels.names[:3])}, …; request "
                "tags without spans"
            )
        self._ends_by_itself = labels.scheme == LabelScheme.LABEL_SCHEME_BIO
        self._parts = [(name[0], name[2:]) for name in labels.names]
        self._open: _Open | None = None
        self._position = 0

    @property
    def first_open(self) -> int:
        """Position of the first label that a later span may include: of the open span, or of the next label."""
        return self._position if self._open is None else self._open.first

    def push(self, labels: Iterable[int], scores: Iterable[float]) -> list[Span]:
        """Adds labels.

        Args:
            labels: Their indexes.
            scores: The probability of each.

        Returns:
            The spans that are complete with these labels, in order.
        """
        complete: list[Span] = []
        for label, score in zip(labels, scores, strict=True):
            prefix, kind = self._parts[label]
            if self._open is not None and prefix in "IE" and kind == self._open.kind:
                self._open.total += score
                if prefix == "E":
                    complete.append(self._closed(self._open, self._position))
            else:
                complete += self._end_span()
                if prefix == "B":
                    self._open = _Open(self._position, kind, score)
                elif prefix == "S":
                    complete.append(Span(self._position, self._position, kind, score))
            self._position += 1
        return complete

    def end(self) -> list[Span]:
        """Ends the sentence. Returns the span that ends with it, if any."""
        return self._end_span()

    def _end_span(self) -> list[Span]:
        """Ends the open span, which is complete in BIO and discarded in BIOES."""
        if self._open is not None and self._ends_by_itself:
            return [self._closed(self._open, self._position - 1)]
        self._open = None
        return []

    def _closed(self, span: _Open, last: int) -> Span:
        self._open = None
        return Span(span.first, last, span.kind, span.total / (last - span.first + 1))


def spans_of(labels: Iterable[int], scores: Iterable[float], names: Labels) -> list[Span]:
    """Returns the spans of a whole sentence, in order.

    Args:
        labels: The label of each token, by index.
        scores: The probability of each.
        names: A manifest's labels.

    Raises:
        TaskMismatchError: The labels are neither BIO nor BIOES.
    """
    reader = SpanReader(names)
    return [*reader.push(labels, scores), *reader.end()]
