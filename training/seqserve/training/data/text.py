"""Text files: UTF-8, plain or gzip-compressed, refused with file and line if they are not."""

import gzip
import hashlib
import zlib
from pathlib import Path

from seqserve.training.errors import DataError


def read_bytes(path: Path) -> bytes:
    """Read a file whole; one whose name ends in ``.gz`` is decompressed.

    Raises: DataError if it is not there, cannot be read, or is not gzip though its name says so.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(path, f"not a whole gzip file: {error}") from error
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """Read a UTF-8 text whole; line ends stay as they are.

    Raises: DataError if it cannot be read, is empty, or is not UTF-8 (with the line and the offset of the byte).
    """
    content = read_bytes(path)
    if not content:
        raise DataError(path, "the file is empty: expected UTF-8 text")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8: byte 0x{content[error.start]:02x} at offset {error.start} ({error.reason})"
        raise DataError(path, message, line=line) from error


def sha256_of(path: Path) -> str:
    """SHA-256 of the file as it lies on disk, 64 lower-case hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
