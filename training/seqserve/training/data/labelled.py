"""Texts with labels, out of files of any format.

The ending of a file's name tells its format: ``.csv`` (RFC 4180: quoted fields may hold commas and line ends), ``.tsv``
(fields between tabs, no quotes), ``.jsonl`` (an object a line). Anything else is a text a line, and the label has to
come with the file's name, ``LABEL=PATH``.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from seqserve.training.data.files import LabelledFile, kind
from seqserve.training.data.text import UTF_8, read_lines
from seqserve.training.errors import DataError

CSV, TSV, JSONL = ".csv", ".tsv", ".jsonl"


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
        texts = list(_texts(file.path, form))
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
    reader = csv.reader((f"{line}\n" for _, line in read_lines(path, form.encoding)), strict=True)
    start = 1
    try:
        for row in reader:
            yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(path, f"not CSV: {error}", line=start) from error


def _tsv_rows(path: Path, form: LabelledFormat) -> Iterator[tuple[int, list[str]]]:
    return ((number, line.split("\t")) for number, line in read_lines(path, form.encoding))


def _from_rows(path: Path, rows: Iterator[tuple[int, list[str]]], form: LabelledFormat) -> Iterator[LabelledText]:
    filled = ((line, row) for line, row in rows if any(row))
    if form.text.isdecimal() and form.label.isdecimal():
        text, label = int(form.text) - 1, int(form.label) - 1
    else:
        line, names = next(filled, (1, list[str]()))
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
    if not text.strip():
        raise DataError(path, "the text is empty", line=line)
    if isinstance(label, list):
        several = [_name(path, line, each) for each in cast("list[object]", label)]
    elif form.separator:
        several = [part.strip() for part in _name(path, line, label).split(form.separator) if part.strip()]
    else:
        several = [_name(path, line, label).strip()]
    if "" in several:
        raise DataError(path, "the label is empty", line=line)
    return LabelledText(text, tuple(dict.fromkeys(several)), line)


def _name(path: Path, line: int, label: object) -> str:
    """A label as text; numbers and truth values are labels too, written as JSON writes them."""
    if isinstance(label, str):
        return label
    if isinstance(label, bool | int | float):
        return json.dumps(label)
    raise DataError(path, f"expected a label, found {label!r}", line=line)
