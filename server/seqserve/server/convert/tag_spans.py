"""The spans of a stream of tags, with the caller's text between their offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seqserve.server.spans import Span, SpanReader
from seqserve.server.tagging import LabelChoices
from seqserve.server.tokenization import Token
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2
from seqserve.v1 import tagging_pb2 as pb

_HELD_MAX = 1 << 16  # characters, or bytes, of what has labels: of a span that is longer, the text is not told


class StreamSpans:
    """Reads spans out of final labels. Holds the text that has none yet, and the open span's within a limit."""

    def __init__(self, labels: manifest_pb2.Labels, unit: common.OffsetUnit, position: int) -> None:
        """Args: unit: of the offsets. position: of the stream's first token. Raises: as SpanReader."""
        self._reader = SpanReader(labels)
        self._position = position
        self._encoding, self._width = ("utf-8", 1) if unit == common.OFFSET_UNIT_BYTE else ("utf-32-le", 4)
        self._text = bytearray()
        self._origin = 0  # where the text that is held begins
        self._count = 0  # tokens so far
        self._first: Token | None = None  # of the open span
        self._last: Token | None = None  # of all tokens so far

    def hear(self, message: pb.StreamTagRequest) -> None:
        """Hold what a message of the caller has of text; words are joined by single spaces."""
        text = message.text or "".join(f"{word} " for word in message.words.words)
        self._text += text.encode(self._encoding)

    def push(self, tokens: Sequence[Token | None], choices: LabelChoices) -> Iterator[pb.TagSpan]:
        """The spans that are whole with these further labels. Args: tokens: None for ids."""
        for token, label, score in zip(tokens, choices.labels, choices.scores, strict=True):
            for span in self._reader.push([label], [score]):
                first = token if span.first == self._count else self._first
                yield self._told(span, first, token if span.last == self._count else self._last)
            if self._reader.first_open >= self._count:
                self._first = token
            self._last = token
            self._count += 1
        needed = self._first if self._reader.first_open < self._count else self._last
        if needed is not None and self._last is not None:
            self._forget(max(needed.start, self._last.end - _HELD_MAX))

    def end(self) -> Iterator[pb.TagSpan]:
        """The sentence ends: the span that ends with it, if one does."""
        for span in self._reader.end():
            yield self._told(span, self._first, self._last)

    def _told(self, span: Span, first: Token | None, last: Token | None) -> pb.TagSpan:
        told = pb.TagSpan(
            label=span.kind,
            score=span.score,
            first_position=self._position + span.first,
            last_position=self._position + span.last,
        )
        if first is not None and last is not None:
            told.offsets.start, told.offsets.end = first.start, last.end
            start, end = (self._width * (place - self._origin) for place in (first.start, last.end))
            told.text = self._text[start:end].decode(self._encoding) if start >= 0 else ""
        return told

    def _forget(self, start: int) -> None:
        """What is before an offset is not needed."""
        if (dropped := start - self._origin) > 0:
            del self._text[: dropped * self._width]
            self._origin += dropped
