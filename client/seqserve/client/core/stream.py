"""The items of a stream that a source feeds, and the record of its answers. Pure.

Tags, scores and running classes all come over streams of one shape: the first message says how, the next ones are the
caller's pieces, and the answers are started, any number of pieces, finished. A `StreamCodec` holds the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, cast

from google.protobuf.message import Message

from seqserve.client.errors import ProtocolError
from seqserve.client.types import html
from seqserve.client.types.answer import Servable, StateResult, servable_from_wire
from seqserve.v1 import common_pb2, tagging_pb2


class Mark(Enum):
    """Marks that a source may yield between its pieces."""

    SENTENCE_END = "SENTENCE_END"
    FLUSH = "FLUSH"


SENTENCE_END: Final = Mark.SENTENCE_END
"""A sentence ends here; the next piece starts a new one. Only for tags."""

FLUSH: Final = Mark.FLUSH
"""Answer everything sent so far and continue. An incomplete word counts as a word; text after it begins another."""

Flush: TypeAlias = Literal[Mark.FLUSH]


class StreamEnd(StrEnum):
    """Why a stream ended. Either way everything that was sent has been answered."""

    INPUT = "INPUT"
    """The source ended."""
    IDLE = "IDLE"
    """Nothing was sent for longer than the idle time-out."""
    UNKNOWN = "UNKNOWN"
    """A reason that this client does not know; the server is newer."""


_ENDS: Final = {common_pb2.STREAM_END_INPUT: StreamEnd.INPUT, common_pb2.STREAM_END_IDLE: StreamEnd.IDLE}


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The stream was admitted.

    Attributes:
        servable: The servable that answers.
        position: Tokens in the sequence before the first one to come.
    """

    servable: Servable
    position: int


class Ended(Protocol):
    """What the end of every stream tells."""

    @property
    def state(self) -> StateResult:
        """The state after the request."""
        ...


PieceT = TypeVar("PieceT")
PartT = TypeVar("PartT")
FinishedT = TypeVar("FinishedT", bound=Ended)


@dataclass(frozen=True, slots=True)
class StreamCodec(Generic[PieceT, PartT, FinishedT]):
    """The messages and values of one kind of stream.

    Attributes:
        opening: The first message: how to answer.
        piece_from_wire: Some answers that came together, out of their event.
        parts: The single answers in it.
        finished_from_wire: What the end tells, out of its event.
    """

    opening: Message
    piece_from_wire: Callable[[Any], PieceT]
    parts: Callable[[PieceT], Iterable[PartT]]
    finished_from_wire: Callable[[Any], FinishedT]

    @property
    def ending(self) -> Message:
        """The last message. Closing the sending side means the same, but a cancelled call closes it too."""
        return self._message("end", common_pb2.EndOfInput())

    def messages(self, item: object) -> Iterable[Message]:
        """The messages for an item of the source: none for an empty piece, several for a large one.

        Args:
            item: A piece or a mark.

        Raises:
            TypeError: The item is not what this kind of stream takes.
            ValueError: A single word is larger than a message may be.
        """
        field, value = _field_of(item)
        takes = type(self.opening).DESCRIPTOR.fields_by_name
        if field not in takes:
            what = field or f"an item of type {type(item).__name__}"
            known = ", ".join(text for name, text in _ITEMS.items() if name in takes)
            raise TypeError(f"the source gave {what}: this stream takes {known}")
        if isinstance(item, Mark):
            return (self._message(field, value),)
        if not item:
            return ()
        if field == "text" and len(cast("str", item)) <= _PIECE_CHARACTERS_MAX:
            return (self._message(field, value),)
        return [self._message(*_field_of(part)) for part in _cut(cast("Any", item))]

    def _message(self, field: str, value: object) -> Message:
        return type(self.opening)(**{field: value})


PIECE_BYTES_MAX: Final = 64 * 1024
"""Larger pieces are sent in parts of at most this size, in bytes of UTF-8."""

_PIECE_CHARACTERS_MAX: Final = PIECE_BYTES_MAX // 4
_PIECE_IDS_MAX: Final = 16_384


def _cut(item: str | Sequence[str] | Sequence[int]) -> Iterator[str | Sequence[str] | Sequence[int]]:
    """The parts of a piece, each small enough for a message.

    Args:
        item: Text, words or token ids.

    Raises:
        ValueError: A single word is too large.
    """
    if isinstance(item, str):
        for start in range(0, len(item), _PIECE_CHARACTERS_MAX):
            yield item[start : start + _PIECE_CHARACTERS_MAX]
    elif not isinstance(item[0], str):
        for start in range(0, len(item), _PIECE_IDS_MAX):
            yield item[start : start + _PIECE_IDS_MAX]
    else:
        yield from _cut_words(cast("Sequence[str]", item))


def _cut_words(words: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size_bytes = 0
    for word in words:
        word_bytes = len(word.encode()) + _WORD_OVERHEAD_BYTES
        if word_bytes > WORD_BYTES_MAX:
            raise ValueError(f"a word must have at most {WORD_BYTES_MAX:,} bytes, got {word_bytes:,}: {word[:20]!r}...")
        if part and size_bytes + word_bytes > PIECE_BYTES_MAX:
            yield part
            part, size_bytes = [], 0
        part.append(word)
        size_bytes += word_bytes
    yield part


_WORD_OVERHEAD_BYTES: Final = 4  # tag and length
WORD_BYTES_MAX: Final = 1024 * 1024
"""Maximum size of one word, which cannot be cut."""

_ITEMS: Final = {
    "text": "text (str)",
    "words": "words (a list of str)",
    "token_ids": "token ids (a list of int)",
    "sentence_end": "SENTENCE_END",
    "flush": "FLUSH",
}


def check_source(source: object) -> None:
    """Checks that a source is not a single text.

    Raises:
        TypeError: If it is one text instead of several pieces.
    """
    if isinstance(source, str | bytes):
        raise TypeError(
            f"source must be an iterable of pieces, got {type(source).__name__}: use [text] for a single text"
        )


def check_options(given: Iterable[str], known: type, method: str) -> None:
    """Refuse options that are not there.

    Raises:
        TypeError: naming the method and what it does not have.
    """
    if unknown := sorted(set(given) - known.__annotations__.keys()):
        raise TypeError(f"{method}() has no option {', '.join(unknown)}")


def stream_end(reason: common_pb2.StreamEnd) -> StreamEnd:
    """Why a stream ended, as a value."""
    return _ENDS.get(reason, StreamEnd.UNKNOWN)


def _field_of(item: Any) -> tuple[str, object]:
    match item:
        case str():
            return "text", item
        case Mark.FLUSH:
            return "flush", common_pb2.Flush()
        case Mark.SENTENCE_END:
            return "sentence_end", tagging_pb2.SentenceEnd()
        case [str(), *others] if all(isinstance(other, str) for other in others):
            return "words", common_pb2.Words(words=item)
        case [*_]:
            return "token_ids", common_pb2.TokenIds(ids=item)
        case _:
            return "", None


class StreamRecord(Generic[PieceT, PartT, FinishedT]):
    """The received part of a stream. Checks that the server sends the events in order."""

    def __init__(self, codec: StreamCodec[PieceT, PartT, FinishedT], on_finished: Callable[[FinishedT], None]) -> None:
        self._codec = codec
        self._on_finished = on_finished
        self._started: StreamStarted | None = None
        self._finished: FinishedT | None = None
        self._iterated = False
        self._cancelled = False

    @property
    def started(self) -> StreamStarted:
        """Servable and position; there from the first answer on, or after ``start()``.

        Raises:
            RuntimeError: If the stream has not been read yet.
        """
        if self._started is None:
            raise RuntimeError("the stream has not started: call start() or read it first")
        return self._started

    @property
    def finished(self) -> FinishedT:
        """Counts, times, state and why it ended; there once the stream was read to its end.

        Raises:
            RuntimeError: If the stream was not read to its end.
        """
        if self._finished is None:
            raise RuntimeError("the stream has not finished: read it to its end first")
        return self._finished

    def _take(self, event: Any) -> PieceT | None:
        """Note one event; the answers if it has some."""
        kind = event.WhichOneof("event")
        if kind is not None and ((kind == "started") != (self._started is None) or self._finished is not None):
            raise ProtocolError(f"the server sent {kind!r} where the stream does not allow it")
        match kind:
            case "started":
                servable = servable_from_wire(event.started.servable)
                self._started = StreamStarted(servable, event.started.position)
            case "finished":
                self._finished = self._codec.finished_from_wire(event.finished)
                self._on_finished(self._finished)
            case "piece" | "update":
                return self._codec.piece_from_wire(getattr(event, kind))
            case _:
                pass  # a newer server's event: not for us
        return None

    def _end(self) -> None:
        """The call has ended; it may only do so after the finish message, or because it was cancelled here."""
        if self._finished is None and not self._cancelled:
            raise ProtocolError("the server ended the stream without saying how it ended")

    def _begin_iteration(self) -> None:
        if self._iterated:
            raise RuntimeError("a stream can be iterated only once: keep its answers")
        self._iterated = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self._status()}>"

    def _repr_html_(self) -> str:
        values: dict[str, object] = {"status": self._status()}
        if self._started is not None:
            values["model"] = f"{self._started.servable.model} version {self._started.servable.version}"
        return html.fields(type(self).__name__, values)

    def _status(self) -> str:
        if self._finished is not None:
            return "finished"
        if self._cancelled:
            return "cancelled"
        return "not started" if self._started is None else "started"
