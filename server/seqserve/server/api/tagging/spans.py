"""The spans of a stream of tags, with the caller's text between their offsets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from seqserve.server.decoding.spans import Span, SpanReader
from seqserve.server.decoding.tagging import LabelChoices
from seqserve.server.text.tokenization import Token
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2
from seqserve.v1 import tagging_pb2 as pb

_HELD_MAX = 1 << 16  # characters, or bytes; longer spans have no text


class StreamSpans:
    """Reads spans out of final labels.

    `add_text` and `add_tokens` run on the event loop. They hold the text that no token was cut from yet, within a
    limit, and hand the text of each token to `push` and `end`, which may run on another thread and hold the text of
    the open span, within the same limit.
    """

    def __init__(self, labels: manifest_pb2.Labels, unit: common.OffsetUnit, position: int) -> None:
        """Args: unit: of the offsets. position: of the stream's first token. Raises: as SpanReader."""
        self._reader = SpanReader(labels)
        self._position = position
        self._encoding, self._width = ("utf-8", 1) if unit == common.OFFSET_UNIT_BYTE else ("utf-32-le", 4)
        self._text = bytearray()
        self._origin = 0  # where the text that is held begins
        self._end = 0  # of the last token that was added
        # Of each token without a label: its text, and all text since the token before.
        self._pending = deque[tuple[bytes, bytes]]()
        self._count = 0  # tokens with a label
        self._first: Token | None = None  # of the open span, or of the last one
        self._last: Token | None = None
        self._span_text = bytearray()  # between them

    def add_text(self, message: pb.StreamTagRequest) -> None:
        """Holds the text of a message; words are joined by single spaces.

        Text further back than the maximum length of a span is white space, because tokens come from the latest text.
        """
        self._forget(self._origin + len(self._text) // self._width - _HELD_MAX)
        text = message.text or "".join(f"{word} " for word in message.words.words)
        self._text += text.encode(self._encoding)

    def add_tokens(self, tokens: Sequence[Token]) -> None:
        """Adds tokens of the held text. They get labels later."""
        for token in tokens:
            self._pending.append((self._between(token.start, token.end), self._between(self._end, token.end)))
            self._end = token.end
        if tokens:
            self._forget(tokens[-1].start)

    def push(self, tokens: Sequence[Token | None], choices: LabelChoices) -> Iterator[pb.TagSpan]:
        """Yields the spans that these labels complete.

        Args:
            tokens: The tokens of the labels, as they were added; None for ids.
            choices: The labels.
        """
        for token, label, score in zip(tokens, choices.labels, choices.scores, strict=True):
            for span in self._reader.push([label], [score]):
                if span.last == self._count:
                    self._read(token, begins=span.first == self._count)
                yield self._message(span)
            if self._reader.first_open <= self._count:
                self._read(token, begins=self._reader.first_open == self._count)
            if token is not None:
                self._pending.popleft()
            self._count += 1

    def end(self) -> Iterator[pb.TagSpan]:
        """Yields the span that the end of the sentence completes, if there is one."""
        for span in self._reader.end():
            yield self._message(span)

    def _read(self, token: Token | None, *, begins: bool) -> None:
        """Adds a token to the open span."""
        if token is None:
            return
        own, since = self._pending[0]
        if begins or self._first is None:
            self._first, self._span_text = token, bytearray(own)
        elif token.end - self._first.start <= _HELD_MAX:
            self._span_text += since
        else:
            self._span_text = bytearray()
        self._last = token

    def _message(self, span: Span) -> pb.TagSpan:
        message = pb.TagSpan(
            label=span.kind,
            score=span.score,
            first_position=self._position + span.first,
            last_position=self._position + span.last,
        )
        if self._first is not None and self._last is not None:
            message.offsets.start, message.offsets.end = self._first.start, self._last.end
            message.text = self._span_text.decode(self._encoding)
        return message

    def _between(self, start: int, end: int) -> bytes:
        """Returns the held text between two offsets."""
        first, last = (self._width * max(0, place - self._origin) for place in (start, end))
        return bytes(self._text[first:last])

    def _forget(self, start: int) -> None:
        """Drops the text before an offset."""
        if (dropped := start - self._origin) > 0:
            del self._text[: dropped * self._width]
            self._origin += dropped
