"""CoNLL-U, the file format of Universal Dependencies (universaldependencies.org/format.html).

Of its ten columns the reader takes the word form (2) and one column of tags; multiword ranges (``3-4``) and empty nodes
(``8.1``) are checked and passed over, for the tags stand at the words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from seqserve.training.config import TagColumn
from seqserve.training.data.text import UTF_8, read_lines
from seqserve.training.errors import DataError

COLUMNS = 10
COLUMN_INDEX = {TagColumn.UPOS: 3, TagColumn.XPOS: 4}
_NOT_A_WORD = re.compile(r"[1-9][0-9]*-[1-9][0-9]*|(0|[1-9][0-9]*)\.[1-9][0-9]*")
TEXT = "# text = "
"""Begins the comment that holds the raw text of a sentence."""


@dataclass(frozen=True)
class Sentence:
    """Words or characters with one tag each.

    Attributes:
        words: the words, or the characters.
        tags: a tag for each.
        text: the raw text that they were cut from; "" if the file does not tell.
        edges: for each character where it stands in its word, as `seqserve.training.data.schemes.by_characters` tells
            it; empty for words.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    text: str
    edges: tuple[int, ...] = ()


def read_conllu(path: Path, column: TagColumn = TagColumn.UPOS, encoding: str = UTF_8) -> list[Sentence]:
    """Read all sentences of a CoNLL-U file, plain or gzip-compressed.

    Raises: DataError naming file, line and what was expected, if the file is empty, not text or not CoNLL-U.
    """
    return [sentence for _, sentence in numbered_conllu(path, column, encoding)]


def numbered_conllu(path: Path, column: TagColumn, encoding: str = UTF_8) -> list[tuple[int, Sentence]]:
    """As ``read_conllu``, each sentence with the number of the line that its first word is in."""
    sentences = list(_sentences(path, read_lines(path, encoding), column))
    if not sentences:
        raise DataError(path, "no sentences: expected CoNLL-U, lines of 10 columns and an empty line after a sentence")
    return sentences


def _sentences(path: Path, lines: Iterator[tuple[int, str]], column: TagColumn) -> Iterator[tuple[int, Sentence]]:
    words, tags = list[str](), list[str]()
    text, start = "", 0
    for number, line in chain(lines, [(0, "")]):
        if line.startswith("#"):
            text = line.removeprefix(TEXT) if line.startswith(TEXT) else text
        elif line.strip(" \t"):  # a blank line may hold spaces
            if (word := _word(path, number, line, column, expected_id=len(words) + 1)) is not None:
                start = start if words else number
                words.append(word[0])
                tags.append(word[1])
        elif words:
            yield start, Sentence(tuple(words), tuple(tags), text)
            words, tags, text = [], [], ""


def _word(path: Path, number: int, line: str, column: TagColumn, *, expected_id: int) -> tuple[str, str] | None:
    fields = line.split("\t")
    if len(fields) != COLUMNS:
        raise DataError(path, f"expected {COLUMNS} columns separated by tabs, found {len(fields)}", line=number)
    if _NOT_A_WORD.fullmatch(fields[0]):
        return None
    if fields[0] != str(expected_id):
        raise DataError(path, f"expected word id {expected_id} in column 1, found {fields[0]!r}", line=number)
    word, tag = fields[1], fields[COLUMN_INDEX[column]]
    if not word:
        raise DataError(path, "expected a word form in column 2, found nothing", line=number)
    if tag in ("", "_"):
        raise DataError(path, f"expected a tag in column {COLUMN_INDEX[column] + 1}, found {tag!r}", line=number)
    return word, tag
