"""Standard input as text: UTF-8 without a byte order mark, and lines that end in a line feed."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import TextIO

_BYTE_ORDER_MARK = "\ufeff"


def read_lines() -> Iterator[str]:
    """The lines of standard input as they arrive, each with its line feed, except perhaps the last.

    A byte order mark at the beginning is dropped, CR LF becomes LF, and bytes that are not UTF-8 become U+FFFD.

    Raises:
        OSError: Standard input is closed.
    """
    stream: TextIO | None = sys.stdin
    if stream is None:
        raise OSError("standard input is closed")
    _decode_utf_8(stream)
    first = True
    for line in stream:
        text = line.removeprefix(_BYTE_ORDER_MARK) if first else line
        first = False
        if text:  # a byte order mark alone is not a line
            yield text[:-2] + "\n" if text.endswith("\r\n") else text


def _decode_utf_8(stream: TextIO) -> None:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="replace")


def read_text() -> str:
    """All of standard input, as `read_lines` reads it.

    Raises:
        OSError: Standard input is closed.
    """
    return "".join(read_lines())


def read_bytes() -> bytes:
    """All of standard input as it is.

    Raises:
        OSError: Standard input is closed.
    """
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return sys.stdin.buffer.read()
