"""Columns of words and tags, the file formats of the CoNLL shared tasks before CoNLL-U.

A line for each word, an empty line after each sentence; columns are separated by tabs, or by spaces if the file has no
tabs. Comments of Universal Dependencies (``# key = value``, ``# newdoc``, ``# newpar``) and ``-DOCSTART-`` lines are
passed over, but ``# text = `` is the raw text.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from seqserve.training.data.conllu import TEXT, Sentence
from seqserve.training.data.text import UTF_8, read_lines
from seqserve.training.errors import DataError

LAST = -1
DOCUMENT = "-DOCSTART-"
_BLANK = " \t\r"
_COMMENT = re.compile(r"# [^\t]*( = |newdoc|newpar)")  # "# O" may be a word and its tag


def read_columns(
    path: Path, *, word_column: int = 1, tag_column: int = LAST, encoding: str = UTF_8
) -> Iterator[tuple[int, Sentence]]:
    """The sentences of a file of columns, each with the number of the line that its first word is in.

    Args:
        path: the file, plain or gzip-compressed.
        word_column: where the words are, from 1.
        tag_column: where the tags are, from 1; LAST for the last column.
        encoding: of the file.
    Raises: DataError naming file, line and what was expected.
    """
    words, tags = list[str](), list[str]()
    text, start = "", 1
    for number, line in read_lines(path, encoding):
        if not line.strip():
            if words:
                yield start, Sentence(tuple(words), tuple(tags), text)
            words, tags, text = [], [], ""
        elif _COMMENT.match(line):
            text = line.removeprefix(TEXT) if line.startswith(TEXT) else text
        elif not line.startswith(DOCUMENT):
            start = start if words else number
            fields = _fields(line)
            words.append(_field(path, number, fields, word_column, "a word"))
            tags.append(_field(path, number, fields, tag_column, "a tag"))
    if words:
        yield start, Sentence(tuple(words), tuple(tags), text)


def _fields(line: str) -> list[str]:
    """Splits at tabs, or at spaces; a no-break space is part of a word, and tabs at the end are no columns."""
    if "\t" in line.rstrip(_BLANK):
        return line.rstrip(_BLANK).split("\t")
    return [field for field in line.strip(_BLANK).split(" ") if field]


def _field(path: Path, number: int, fields: list[str], column: int, what: str) -> str:
    if len(fields) < max(column, 2):
        raise DataError(path, f"expected {what} in column {max(column, 2)}, found {len(fields)} columns", line=number)
    field = fields[column if column == LAST else column - 1].strip(_BLANK)
    if not field:
        where = "the last column" if column == LAST else f"column {column}"
        raise DataError(path, f"expected {what} in {where}, found nothing", line=number)
    return field
