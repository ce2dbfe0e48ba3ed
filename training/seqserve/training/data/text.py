"""Text files, plain or gzip-compressed, in any encoding. Invalid text is an error with file, line, and byte.

Files are read in pieces, so the memory is bounded for any size.
"""

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from seqserve.training.data.files import COMPRESSED
from seqserve.training.errors import DataError

PIECE_BYTES = 1 << 18
"""Bytes that are read at a time."""
UTF_8 = "utf-8"
_BYTE_ORDER_MARK = "\ufeff"


def pieces(path: Path, encoding: str = UTF_8) -> Iterator[str]:
    """The text of a file in pieces of at most PIECE_BYTES characters; line ends stay as they are.

    A byte order mark at the beginning is no part of the text.

    Raises: DataError if the file cannot be read, is not gzip though its name ends in ``.gz``, is empty, or is not text
        in this encoding (with the line, the byte and its offset).
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, lines, begins = 0, 1, True
    with _opened(path) as file:
        while content := file.read(PIECE_BYTES):
            try:
                text = decoder.decode(content)
            except UnicodeDecodeError as error:
                raise _undecodable(path, error, offset + len(content), lines) from error
            except UnicodeError as error:  # UTF-16 and UTF-32 need a byte order mark
                raise DataError(
                    path,
                    f"not {encoding}: {error}; if the file has no byte order mark, give its byte order, for example"
                    f" --encoding {encoding}-le",
                ) from error
            offset += len(content)
            lines += text.count("\n")
            if text and begins:
                text, begins = text.removeprefix(_BYTE_ORDER_MARK), False
            if text:
                yield text
    if not offset:
        raise DataError(path, "the file is empty: expected text")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _undecodable(path, error, offset, lines) from error


def read_text(path: Path, encoding: str = UTF_8) -> str:
    """Read a text whole; line ends stay as they are.

    Raises: DataError as ``pieces``.
    """
    return "".join(pieces(path, encoding))


def read_lines(path: Path, encoding: str = UTF_8) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers (from 1), without their ends (LF or CR LF).

    Raises: DataError as ``pieces``.
    """
    number, rest = 1, ""
    for piece in pieces(path, encoding):
        *whole, rest = (rest + piece).split("\n")
        for line in whole:
            yield number, line.removesuffix("\r")
            number += 1
    if rest:
        yield number, rest


def sha256_of(path: Path) -> str:
    """SHA-256 of the file as it lies on disk, 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    try:
        with gzip.open(path) if path.suffix == COMPRESSED else path.open("rb") as file:
            yield cast("BinaryIO", file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(path, f"not a whole gzip file: {error}") from error
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


def _undecodable(path: Path, error: UnicodeDecodeError, end: int, lines: int) -> DataError:
    """The error of a byte; the decoder looked at bytes that end at offset ``end`` and begin in line ``lines``."""
    offset = end - len(error.object) + error.start
    name = "UTF-8" if error.encoding == UTF_8 else error.encoding
    return DataError(
        path,
        f"not {name}: byte 0x{error.object[error.start]:02x} at offset {offset} ({error.reason});"
        " --encoding names another encoding, latin-1 for instance",
        line=lines + error.object.count(b"\n", 0, error.start),
    )
