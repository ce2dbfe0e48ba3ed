"""Lines of standard input that are sent as they come, and found again by where the answers stand in the text."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Placed(Protocol):
    """An answer about a part of the text, in characters from its beginning."""

    @property
    def start(self) -> int:
        """Where it starts."""
        ...

    @property
    def end(self) -> int:
        """Where it ends, the first place after it."""
        ...


PlacedT = TypeVar("PlacedT", bound=Placed)


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its line break, and where it starts in the whole text."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Where its visible text ends: what stands behind need not be answered."""
        return self.start + len(self.text.rstrip())

    def has(self, answer: Placed) -> bool:
        """Whether an answer is about this line."""
        return self.start <= answer.start < self.end


class Lines(Generic[PlacedT]):
    """The lines on their way: iterate for the source of a stream, and give back its answers in order.

    Blank lines are sent too, but produce no output.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Initializes it.

        Args:
            lines: With their line breaks.
        """
        self._lines = lines
        self._sent: deque[Line] = deque()  # filled in the thread of the source, emptied by the reader
        self._answers: list[PlacedT] = []

    def __iter__(self) -> Iterator[str]:
        start = 0
        for line in self._lines:
            if line.strip():
                self._sent.append(Line(line.rstrip("\r\n"), start))
            start += len(line)
            yield line

    def answered(self, answer: PlacedT) -> Iterator[tuple[Line, list[PlacedT]]]:
        """Take an answer.

        Returns:
            The lines that this one completes, each with its answers.
        """
        self._answers.append(answer)
        while self._sent and self._sent[0].end <= answer.end:
            yield self._first()
        if not self._sent:  # what was answered behind the last line is about blanks
            self._answers.clear()

    def rest(self) -> Iterator[tuple[Line, list[PlacedT]]]:
        """The lines that are left when no more answers come."""
        while self._sent:
            yield self._first()

    def _first(self) -> tuple[Line, list[PlacedT]]:
        line = self._sent.popleft()
        own = [answer for answer in self._answers if line.has(answer)]
        self._answers = [answer for answer in self._answers if answer.start >= line.end]
        return line, own
