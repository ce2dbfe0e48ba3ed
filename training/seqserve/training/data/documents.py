"""Texts as pieces in order: normalized, with separate documents and only a few pieces in memory.

Each iteration reads the text again, so its size is irrelevant. Borders of pieces are placed where they have no effect:
reading a text in pieces gives the same result as reading it whole.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from seqserve.training.config.language_model import LanguageModelConfig
from seqserve.training.data.text import UTF_8, pieces
from seqserve.training.errors import DataError
from seqserve.training.tokenizers.text import text_normalizer

HELD_CHARACTERS_MAX = 1 << 18
"""Of a text without a good place to cut, as many characters are held before it is cut anywhere."""


class Piece(NamedTuple):
    """Some text of one file; ``begins`` if a document begins with it."""

    text: str
    begins: bool
    path: Path


@dataclass(frozen=True)
class TextForm:
    """How files are read as text.

    Attributes:
        encoding: of the files.
        documents: whether each file is a document; otherwise all files are one text.
        separator: what stands between the documents of a file; "" if nothing does.
        lowercase: the text is read in lower case.
        letters_only: whether everything except letters becomes one space.
        characters_max: characters that are read, from the beginning; None for all.
    """

    encoding: str = UTF_8
    documents: bool = False
    separator: str = ""
    lowercase: bool = False
    letters_only: bool = False
    characters_max: int | None = None

    @staticmethod
    def of(config: LanguageModelConfig) -> "TextForm":
        """How a configuration says that its data are read."""
        return TextForm(
            config.encoding,
            config.documents,
            config.document_separator,
            config.lowercase,
            config.letters_only,
            config.characters_max,
        )

    @property
    def apart(self) -> bool:
        """Whether documents are given apart."""
        return self.documents or bool(self.separator)


@dataclass(frozen=True)
class Text:
    """The text of files, or a part of it.

    Attributes:
        paths: the files, in order.
        form: how they are read.
        start: where the part begins: a document (from 0) if they are given apart, else a character.
        end: where it ends, likewise; None for the end of the text.
    """

    paths: tuple[Path, ...]
    form: TextForm
    start: int = 0
    end: int | None = None

    def pieces(self) -> Iterator[Piece]:
        """The pieces of the text, none empty. Raises: DataError if a file cannot be used."""
        whole = _limited(_normalised(_read(self.paths, self.form), self.form), self.form.characters_max)
        return _documents(whole, self.start, self.end) if self.form.apart else _stretch(whole, self.start, self.end)

    def units(self) -> int:
        """Documents of the text if they are given apart, else characters. Raises: DataError."""
        return sum(piece.begins if self.form.apart else len(piece.text) for piece in self.pieces())

    def split(self, fraction: float) -> "tuple[Text, Text]":
        """The text without its last part, and that part: a fraction of its units, at least one. Raises: DataError."""
        units, what = self.units(), "documents" if self.form.apart else "characters"
        border = units - max(round(units * fraction), 1)
        if border < 1:
            raise DataError(
                self.paths[0], f"of {units} {what} none is left to train on: give more, or files to --validation"
            )
        return replace(self, end=border), replace(self, start=border)


def between_words(text: Iterable[Piece]) -> Iterator[Piece]:
    """The same text with borders before white space only: neither words nor runs of white space are cut."""
    return _regrouped(text, _before_last_space)


def _read(paths: tuple[Path, ...], form: TextForm) -> Iterator[Piece]:
    begins = True
    for path in paths:
        begins = begins or form.apart
        content = pieces(path, form.encoding)
        for text, first in (
            _separated(content, form.separator) if form.separator else ((text, False) for text in content)
        ):
            yield Piece(text, begins or first, path)
            begins = False


def _separated(content: Iterable[str], separator: str) -> Iterator[tuple[str, bool]]:
    """The text between separators, with whether a document begins; empty documents are none."""
    begins, rest, keep = True, "", len(separator) - 1  # characters that may begin a separator
    for text in content:
        *ended, rest = (rest + text).split(separator)
        for document in ended:
            if document:
                yield document, begins
            begins = True
        if len(rest) > keep:
            yield rest[: len(rest) - keep], begins
            begins, rest = False, rest[len(rest) - keep :]
    if rest:
        yield rest, begins


def _normalised(text: Iterator[Piece], form: TextForm) -> Iterator[Piece]:
    normalizer = text_normalizer(lowercase=form.lowercase, letters_only=form.letters_only)
    if normalizer is None:
        yield from text
        return
    for piece in _regrouped(text, _before_last_letter) if form.letters_only else text:
        yield piece._replace(text=normalizer.normalize_str(piece.text))


def _regrouped(text: Iterable[Piece], safe: Callable[[str], int]) -> Iterator[Piece]:
    """Moves borders inside documents and files to the place that ``safe`` returns; the rest joins the next piece."""
    held: Piece | None = None
    for piece in text:
        if held is not None and (piece.begins or piece.path != held.path):
            yield held
            held = None
        joined = piece if held is None else held._replace(text=held.text + piece.text)
        border = safe(joined.text)
        if len(joined.text) - border > HELD_CHARACTERS_MAX:
            border = len(joined.text)
        if border:
            yield joined._replace(text=joined.text[:border])
            joined = joined._replace(text=joined.text[border:], begins=False)
        held = joined if joined.text else None
    if held is not None:
        yield held


def _before_last_letter(text: str) -> int:
    place = len(text) - 1
    while place > 0 and not text[place].isalpha():
        place -= 1
    return max(place, 0)


def _before_last_space(text: str) -> int:
    place = max(text.rfind(" "), text.rfind("\n"), 0)
    while place > 0 and text[place - 1].isspace():
        place -= 1
    return place


def _limited(text: Iterator[Piece], characters_max: int | None) -> Iterator[Piece]:
    return text if characters_max is None else _stretch(text, 0, characters_max)


def _stretch(text: Iterator[Piece], start: int, end: int | None) -> Iterator[Piece]:
    """The characters from ``start`` to ``end``; a document begins where the stretch does."""
    place = 0
    for piece in text:
        first, last = max(start - place, 0), len(piece.text) if end is None else min(end - place, len(piece.text))
        if first < last:
            yield piece._replace(text=piece.text[first:last], begins=piece.begins or place + first == start)
        place += len(piece.text)
        if end is not None and place >= end:
            return


def _documents(text: Iterator[Piece], start: int, end: int | None) -> Iterator[Piece]:
    """The documents from number ``start`` (from 0) to ``end``."""
    number = -1
    for piece in text:
        number += piece.begins
        if end is not None and number >= end:
            return
        if number >= start:
            yield piece
