"""Which files a person means: files, directories, patterns, and files that stand for one label."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from seqserve.training.errors import DataError

COMPRESSED = ".gz"
_PATTERN = frozenset("*?[")


class LabelledFile(NamedTuple):
    """A file, and the label that all of it has; None if its lines tell theirs."""

    path: Path
    label: str | None


def files(given: Sequence[Path]) -> tuple[Path, ...]:
    """The files that paths, directories and patterns (``*``, ``?``, ``[]``, ``**``) name, in order.

    The files of a directory and the matches of a pattern are ordered by name; hidden files are skipped. A path that
    exists literally isn't a pattern.

    Raises: DataError if one of them names no file.
    """
    return tuple(file for path in given for file in _files(path))


def labelled_files(given: Sequence[Path]) -> tuple[LabelledFile, ...]:
    """As ``files``; in ``LABEL=PATH`` every file of PATH has that label.

    Raises: DataError if one of them names no file.
    """
    found = list[LabelledFile]()
    for path in given:
        label, equals, rest = str(path).partition("=")
        if path.exists() or not equals or "/" in label or not label or not rest:
            found += (LabelledFile(file, None) for file in _files(path))
        else:
            found += (LabelledFile(file, label) for file in _files(Path(rest)))
    return tuple(found)


def kind(path: Path) -> str:
    """The ending of a file's name that tells its format, in lower case; ``.gz`` is no format: a.TSV.gz gives .tsv."""
    return Path(path.stem if path.suffix == COMPRESSED else path.name).suffix.lower()


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        if not found:
            raise DataError(path, "the directory holds no file")
        yield from found
    elif not path.exists() and _PATTERN & set(str(path)):
        pattern = str(path.relative_to(path.anchor))
        matches = sorted(match for match in Path(path.anchor).glob(pattern) if match.is_file())
        if not matches:
            raise DataError(path, "no file matches this pattern")
        yield from matches
    else:
        yield path  # if it is not there, reading says so
