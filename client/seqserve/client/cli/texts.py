"""The texts that a command is about: its arguments, or the lines of standard input."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from seqserve.client.cli.output import complain
from seqserve.client.cli.standard_input import read_lines
from seqserve.client.errors import InvalidArgumentError
from seqserve.client.types.html import shortened

Answer = TypeVar("Answer")

TEXTS_PER_REQUEST_MAX = 64
"""Maximum number of texts in one request; below every practical inputs_max of a server."""


def add_texts(parser: argparse.ArgumentParser, *, kind: str, alone: bool = True) -> None:
    """Add the argument TEXT of a command that reads standard input as it comes, and with ``alone`` the option --each.

    ``kind`` is what a text is called.
    """
    _add(parser, kind, "as it comes")
    if alone:
        parser.add_argument("--each", action="store_true", help=f"with -: treat every line as a separate {kind}")


def add_each_text(parser: argparse.ArgumentParser, *, kind: str) -> None:
    """Add the argument TEXT of a command whose texts are whole; ``kind`` is what one is called."""
    _add(parser, kind, f"one {kind} a line")


def is_stream(arguments: argparse.Namespace) -> bool:
    """Whether standard input is to be read as it comes, as one text.

    Raises:
        ValueError: If there are other texts too.
    """
    if "-" not in arguments.texts or getattr(arguments, "each", False):
        return False
    if len(arguments.texts) > 1:
        raise ValueError("- is one text read line by line from standard input: it must be the only TEXT")
    return True


def batches(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The texts, as many together as go into a request; one by one as they are typed at a terminal."""
    texts = _texts(arguments)
    while batch := list(itertools.islice(texts, 1 if sys.stdin and sys.stdin.isatty() else TEXTS_PER_REQUEST_MAX)):
        yield batch


def sound(texts: Sequence[str], answers: Iterable[Answer | Exception]) -> list[tuple[str, Answer]]:
    """The texts that were answered, each with its answer; the error of any other text is printed.

    Args:
        texts: The texts of a batch.
        answers: An answer for each, or an exception.

    Raises:
        SeqserveError: An error is not about one text among several.
    """
    answered: list[tuple[str, Answer]] = []
    for text, answer in zip(texts, answers, strict=True):
        if not isinstance(answer, Exception):
            answered.append((text, answer))
        elif isinstance(answer, InvalidArgumentError) and len(texts) > 1:
            complain(f"{shortened(text)}: {answer.message}")
        else:
            raise answer
    return answered


def _texts(arguments: Sequence[str]) -> Iterator[str]:
    """One by one; an empty line of standard input is no text, an empty argument is one that the server refuses."""
    for argument in arguments:
        if argument == "-":
            lines = (line.rstrip("\n") for line in read_lines())
            yield from (line for line in lines if line.strip())
        else:
            yield argument


def _add(parser: argparse.ArgumentParser, kind: str, read: str) -> None:
    parser.add_argument("texts", metavar="TEXT", nargs="+", help=f"a {kind}, in quotes; - reads standard input, {read}")
