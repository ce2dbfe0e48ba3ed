"""Output of the commands: JSON lines for programs, tables for people, and errors."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from seqserve.client.errors import (
    DeadlineError,
    ExhaustedError,
    InvalidFieldError,
    ModelNotFoundError,
    OutOfVocabularyError,
    SeqserveError,
    SessionBusyError,
    SessionNotFoundError,
    TaskMismatchError,
    UnreachableError,
    VersionNotFoundError,
)

_HINTS: Final[tuple[tuple[type[SeqserveError], str], ...]] = (
    (VersionNotFoundError, "seqserve models MODEL --json tells its versions"),
    (ModelNotFoundError, "seqserve models lists the models of this server"),
    (TaskMismatchError, "seqserve models tells what each model does"),
    (SessionNotFoundError, "seqserve sessions list lists yours; --principal NAME tells whose they are"),
    (SessionBusyError, "try again when the other request has ended"),
    (OutOfVocabularyError, "the model was not trained on that character or word: leave it out"),
    (UnreachableError, "start a server with seqserve-server --models DIR, or select another with --server HOST:PORT"),
    (DeadlineError, "--timeout SECONDS waits longer"),
)


COLUMNS_MAX: Final = 1000
"""Width of a table that does not go to a terminal: wide enough that nothing is cut."""


def print_json(value: object, **more: object) -> None:
    """Print one JSON object as one line.

    Args:
        value: A dataclass of the client's.
        more: Members that come before its own.
    """
    members = {**more, **_members(value)}
    print(json.dumps(members, ensure_ascii=False, default=_plain), flush=True)


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal or, where there is none, as its content."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=COLUMNS_MAX)
    with console.capture() as capture:  # rich itself would end the process if the reader of a pipe has left
        console.print(table)
    print(capture.get(), end="", flush=True)


def complain(message: str, hint: str = "") -> None:
    """Prints an error, and a hint what to do, on standard error."""
    print(f"seqserve: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


def complain_about(error: SeqserveError) -> None:
    """Prints why a call failed on standard error."""
    message = error.message
    if isinstance(error, InvalidFieldError):
        described = [f"{one.field}: {one.description}" for one in error.violations if one.description not in message]
        message = "; ".join([message, *described])
    complain(message, _hint(error))


def _hint(error: SeqserveError) -> str:
    if error.retry_after_s is not None and isinstance(error, ExhaustedError):
        return f"the server is busy: try again in {error.retry_after_s:g} s"
    if isinstance(error, UnreachableError) and "proxy" in error.message:
        return "no_proxy=HOST seqserve ... connects to HOST without the proxy"
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")


def _members(value: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no members to print")


def _plain(value: object) -> str:
    """Bytes as base64 and times as ISO 8601, for JSON."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
