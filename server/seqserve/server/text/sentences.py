"""Finds the ends of sentences by punctuation, token by token.

A sentence ends after `.`, `!`, `?`, `…` or a run of them where white space follows, and after the wide marks of Chinese
and Japanese wherever they stand; quotes and brackets that close right after the marks belong to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto

from seqserve.server.text.tokenization import Token

_WIDE = frozenset("。！？｡")  # noqa: RUF001
_MARKS = frozenset(".!?…") | _WIDE
_CLOSING = frozenset("\"'”’»)]}」』）】》〉")  # noqa: RUF001


class SentenceRule(Enum):
    """What ends a sentence of a stream, besides the caller's own marks."""

    CALLER = auto()  # nothing else
    NEWLINE = auto()
    PUNCTUATION = auto()  # and newlines


class SentenceSplitter:
    """Cuts one stream's tokens into sentences. White space after a sentence's end, where it is tokens, is left out."""

    def __init__(self) -> None:
        self._marked = False  # the last tokens end a sentence, if what follows allows it
        self._wide = False  # there is a wide mark among them
        self._between = False  # only white space has come since the last end
        self._end = 0  # where the last token ends

    def split(self, tokens: Sequence[Token], *, words: bool) -> Iterator[tuple[int, int, bool]]:
        """Yields runs of these tokens: [start, end), and whether a sentence ends with the run, which may be empty.

        Args: words: they are words given by the caller; nothing is known of the space between them.
        """
        start = 0
        for index, token in enumerate(tokens):
            space = token.text.isspace()
            joined = not space and (words or token.start == self._end)
            if self._marked and not (joined and (_is_of(token, _MARKS) or _is_of(token, _CLOSING))):
                ends = self._wide or words or not joined
                self.begin(between=ends)
                if ends:
                    yield start, index, True
                    start = index
            if self._between and space:
                yield start, index, False
                start = index + 1
                continue
            self._between = False
            if _is_of(token, _MARKS):
                self._marked, self._wide = True, self._wide or not _WIDE.isdisjoint(token.text)
            self._end = token.end
        yield start, len(tokens), False

    def space(self) -> bool:
        """Returns whether a sentence ends at the last token, which white space follows."""
        ends = self._marked
        if ends:
            self.begin(between=True)
        return ends

    def begin(self, *, between: bool = False) -> None:
        """Starts a new sentence. Args: between: Whether white space before it is left out."""
        self._marked, self._wide, self._between = False, False, between


def _is_of(token: Token, characters: frozenset[str]) -> bool:
    return characters.issuperset(token.text)
