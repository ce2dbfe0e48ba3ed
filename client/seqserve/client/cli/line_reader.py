"""Reads lines once, and hands them to several streams one after another."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

_WAITING_MAX: Final = 1000


class LineReader:
    """Lines for a stream that may break and be followed by another one.

    A thread of the broken stream may still wait for the next line. It must not take that line away from the stream that
    follows, so all lines are read in one thread here, and only the current stream gets them. Lines that were taken are
    kept until they are acknowledged.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Starts to read.

        Args:
            lines: The lines, with their line feeds.
        """
        self._changed = threading.Condition()  # of all that follows
        self._waiting: deque[str] = deque()
        self._taken: deque[str] = deque()
        self._stream = 0  # number of the current stream
        self._ended = False
        self._error: BaseException | None = None
        self.position = 0
        """Characters of the current stream before the first line that is not acknowledged."""
        threading.Thread(target=self._read, args=(lines,), name="seqserve-lines", daemon=True).start()

    def follow(self) -> Iterator[str]:
        """The lines from here on; iterators from earlier calls end."""
        with self._changed:
            self._stream += 1
            self._taken.clear()
            self.position = 0
            self._changed.notify_all()
            return self._lines_of(self._stream)

    def acknowledge(self) -> None:
        """Forgets the first line that is not blank, and blank ones before it."""
        with self._changed:
            while self._taken:
                line = self._taken.popleft()
                self.position += len(line)
                if line.strip():
                    break

    def stop(self) -> list[str]:
        """Ends all iterators.

        Returns:
            The lines that were taken and not acknowledged.
        """
        with self._changed:
            self._stream += 1
            self._changed.notify_all()
            return list(self._taken)

    def put_back(self, lines: Iterable[str]) -> None:
        """Makes lines the next ones to be taken.

        Args:
            lines: In their order.
        """
        with self._changed:
            self._waiting.extendleft(reversed(list(lines)))
            self._changed.notify_all()

    def _lines_of(self, stream: int) -> Iterator[str]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stream != stream or bool(self._waiting) or self._ended)
                if self._stream != stream:
                    return
                if not self._waiting:
                    break
                line = self._waiting.popleft()
                self._taken.append(line)
                self._changed.notify_all()
            yield line
        if self._error is not None:
            raise self._error

    def _read(self, lines: Iterable[str]) -> None:
        try:
            for line in lines:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._waiting) < _WAITING_MAX)
                    self._waiting.append(line)
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - the current stream raises it, whatever it is
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()
