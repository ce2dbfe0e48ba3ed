"""Texts with labels, out of files of any format.

The suffix of a file's name gives its format: ``.csv`` (RFC 4180: quoted fields may hold commas and line ends; the
delimiter is found), ``.tsv`` (fields between tabs, quoted if all of the first line are), ``.jsonl`` (one object per
line). Any other file has one text per line, and its label has to come with the file's name, ``LABEL=PATH``.
"""

import csv
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

from seqserve.training.data.files import LabelledFile, kind
from seqserve.training.data.text import UTF_8, read_lines
from seqserve.training.errors import DataError

CSV, TSV, JSONL = ".csv", ".tsv", ".jsonl"
DELIMITERS = (",", ";", "\t", "|")
"""Separators of columns in CSV files; spreadsheets write semicolons where the comma is the decimal sign."""
FIELD_CHARACTERS_MAX = 1 << 30
"""Maximum length of a CSV field; the csv module's own default is 131,072."""
HEADER_NAMES = frozenset(
    [
        "text",
        "texts",
        "sentence",
        "sentences",
        "review",
        "tweet",
        "message",
        "body",
        "content",
        "label",
        "labels",
        "class",
        "category",
        "target",
        "sentiment",
    ]
)
"""Names that make a first line a header although columns are given by number."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledText:
    """A text, its labels, and the line (from 1) of the file that it was found in."""

    text: str
    labels: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class LabelledFormat:
    """Where texts and labels stand.

    Attributes:
        text: the column of the text: a name, or a number from 1 of a file without a line of names; in JSONL a key.
        label: the column of the labels, likewise.
        separator: between the labels of one text; "" if there is one label only.
        encoding: of the files.
    """

    text: str = "text"
    label: str = "label"
    separator: str = ""
    encoding: str = UTF_8


def read_labelled(file: LabelledFile, form: LabelledFormat | None = None) -> list[LabelledText]:
    """Read all texts of a file, plain or gzip-compressed; one text has one label if there is no separator.

    A file that has a label as a whole is a text a line, whatever its format; empty lines are passed over.

    Raises: DataError naming file, line and what was expected.
    """
    form = form or LabelledFormat()
    if file.label is not None:
        lines = read_lines(file.path, form.encoding)
        texts = [LabelledText(line.strip(), (file.label,), number) for number, line in lines if line.strip()]
    else:
        rows = list(_texts(file.path, form))
        texts = [row for row in rows if row.text.strip()]
        if empty := len(rows) - len(texts):
            log.warning("%s: %d of %d rows have no text and are skipped", file.path, empty, len(rows))
    if not texts:
        raise DataError(file.path, "no texts: expected at least one")
    return texts


def _texts(path: Path, form: LabelledFormat) -> Iterator[LabelledText]:
    match kind(path):
        case ".csv" | ".tsv" as ending:
            rows = _csv_rows(path, form) if ending == CSV else _tsv_rows(path, form)
            yield from _from_rows(path, rows, form)
        case ".jsonl":
            for number, line in read_lines(path, form.encoding):
                if line.strip():
                    yield _from_object(path, number, line, form)
        case ending:
            raise DataError(
                path,
                f"the ending {ending!r} does not tell texts from labels: expected {CSV}, {TSV} or {JSONL},"
                " .gz of these, or texts of one label, one a line, given as LABEL=PATH",
            )


def _csv_rows(path: Path, form: LabelledFormat) -> Iterator[tuple[int, list[str]]]:
    _, header = next(read_lines(path, form.encoding), (1, ""))
    return _quoted_rows(path, form, _delimiter(header, form))


def _delimiter(header: str, form: LabelledFormat) -> str:
    """The separator of columns: the first of DELIMITERS that gives the columns that the format names."""
    for delimiter in DELIMITERS:
        names = next(csv.reader([header], delimiter=delimiter), list[str]())
        numbers = [int(name) for name in (form.text, form.label) if name.isdecimal()]
        if {form.text, form.label} <= set(names) or (len(numbers) == 2 and max(numbers) <= len(names)):
            return delimiter
    return DELIMITERS[0]


def _quoted_rows(path: Path, form: LabelledFormat, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(FIELD_CHARACTERS_MAX)
    lines = (f"{line}\n" for _, line in read_lines(path, form.encoding))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    start = 1
    try:
        for row in reader:
            yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(path, f"not CSV: {error}", line=start) from error


def _tsv_rows(path: Path, form: LabelledFormat) -> Iterator[tuple[int, list[str]]]:
    _, header = next(read_lines(path, form.encoding), (1, ""))
    if all(len(field) > 1 and field[0] == field[-1] == '"' for field in header.split("\t")):
        return _quoted_rows(path, form, "\t")
    return ((number, line.split("\t")) for number, line in read_lines(path, form.encoding))


def _from_rows(path: Path, rows: Iterator[tuple[int, list[str]]], form: LabelledFormat) -> Iterator[LabelledText]:
    filled: Iterator[tuple[int, list[str]]] = ((line, row) for line, row in rows if any(row))
    line, names = next(filled, (1, list[str]()))
    if form.text.isdecimal() and form.label.isdecimal() and not {form.text, form.label} <= set(names):
        text, label = int(form.text) - 1, int(form.label) - 1
        if min(text, label) < 0:
            raise DataError(path, "columns are numbered from 1, and the first line has no column named 0", line=line)
        if len(names) > max(text, label) and {names[text].lower(), names[label].lower()} <= HEADER_NAMES:
            log.warning("%s, line %d: taken as names of columns: %s", path, line, ", ".join(names))
        else:
            filled = chain([(line, names)], filled)
    else:
        text, label = (_column(path, line, names, name) for name in (form.text, form.label))
    for line, row in filled:
        if len(row) <= max(text, label):
            raise DataError(path, f"expected at least {max(text, label) + 1} columns, found {len(row)}", line=line)
        yield _labelled(path, line, row[text], row[label], form)


def _column(path: Path, line: int, names: list[str], name: str) -> int:
    if name not in names:
        raise DataError(
            path,
            f"no column {name!r} among {', '.join(map(repr, names))}; name the columns of texts and labels, or give"
            " both as numbers if the first line is no line of names",
            line=line,
        )
    return names.index(name)


def _from_object(path: Path, line: int, content: str, form: LabelledFormat) -> LabelledText:
    try:
        found = json.loads(content)
    except json.JSONDecodeError as error:
        raise DataError(path, f"not JSON: {error.msg} at character {error.pos + 1}", line=line) from error
    if not isinstance(found, dict):
        raise DataError(path, f"expected an object with {form.text!r} and {form.label!r}", line=line)
    fields = cast("Mapping[str, Any]", found)
    for name in (form.text, form.label):
        if name not in fields:
            raise DataError(path, f"no {name!r} among {', '.join(map(repr, fields))}", line=line)
    text, label = fields[form.text], fields[form.label]
    if not isinstance(text, str):
        raise DataError(path, f"expected {form.text!r} to be a string, found {text!r}", line=line)
    return _labelled(path, line, text, label, form)


def _labelled(path: Path, line: int, text: str, label: object, form: LabelledFormat) -> LabelledText:
    """A text with the labels that its field holds; a list, which JSON may have, is taken as several labels."""
    _refuse_surrogates(path, line, "text", text)
    if isinstance(label, list):
        several = [_name(path, line, each) for each in cast("list[object]", label)]
    elif form.separator:
        several = [part.strip() for part in _name(path, line, label).split(form.separator) if part.strip()]
    else:
        several = [_name(path, line, label).strip()]
    for name in several:
        _refuse_surrogates(path, line, "label", name)
    if "" in several:
        raise DataError(path, "the label is empty", line=line)
    return LabelledText(text, tuple(dict.fromkeys(several)), line)


def _refuse_surrogates(path: Path, line: int, what: str, value: str) -> None:
    """Refuses half of a surrogate pair, which JSON can hold and no encoding can."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = value[error.start]
        raise DataError(
            path,
            f"the {what} has half of a surrogate pair, \\u{ord(half):04x}, at character {error.start + 1}; write the"
            " whole pair, or remove it",
            line=line,
        ) from error


def _name(path: Path, line: int, label: object) -> str:
    """A label as text; numbers and truth values are labels too, written as JSON writes them."""
    if isinstance(label, str):
        return label
    if isinstance(label, bool | int | float):
        return json.dumps(label)
    raise DataError(path, f"expected a label, found {label!r}", line=line)
