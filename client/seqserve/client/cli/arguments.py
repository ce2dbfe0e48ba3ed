"""The arguments of ``seqserve``."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
from typing import Final, Protocol, cast

from seqserve.client._sync.client import Client
from seqserve.client.cli import chat, classify, fill, generate, health, models, score, sessions, tag
from seqserve.client.cli.connection import add_connection, connection_after

DESCRIPTION: Final = (
    "Call a seqserve server: generate and score text, tag and classify it, fill its blanks; keep sessions, list models."
)

EXIT_CODES: Final = "exit codes: 0 done, 1 a call or a file failed, 2 wrong usage, 130 interrupted, 141 the reader left"


class Command(Protocol):
    """A module of this package that implements a subcommand."""

    EXAMPLES: str

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Add its arguments."""

    def run(self, client: Client, arguments: argparse.Namespace) -> int:
        """Do its work and return the exit code."""
        ...


COMMANDS: Final[dict[str, tuple[Command, str]]] = {
    "generate": (generate, "generate text from a prompt"),
    "chat": (chat, "write a text together with a model, line by line, in a session"),
    "score": (score, "score how likely a text is under a model"),
    "tag": (tag, "label every token of a sentence"),
    "classify": (classify, "classify a text"),
    "fill": (fill, "fill the blanks of a text"),
    "sessions": (sessions, "manage sessions, the states that a server keeps between requests"),
    "models": (models, "list the models of the server, or describe one"),
    "health": (health, "check whether the server is serving"),
}


GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "language models": ("generate", "chat", "score"),
    "taggers, classifiers, and infilling models": ("tag", "classify", "fill"),
    "the server": ("models", "sessions", "health"),
}
"""The commands by what they are for, as ``--help`` shows them."""


def _grouped_commands() -> str:
    lines: list[str] = []
    for title, names in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<12}{COMMANDS[name][1]}" for name in names), ""]
    return "\n".join([*lines, "seqserve COMMAND --help describes a command."])


def check_unicode(arguments: argparse.Namespace) -> None:
    """Checks that the arguments are valid Unicode, as everything that is sent has to be; paths may be any bytes.

    Raises:
        ValueError: An argument, or the environment variable that is its default, is not UTF-8.
    """
    for name, value in vars(arguments).items():
        for text in cast("list[object]", value) if isinstance(value, list) else [value]:
            if name != "path" and isinstance(text, str) and not _is_unicode(text):
                raise ValueError(f"{name} must be UTF-8, got the bytes {os.fsencode(text)!r}")


def _is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which stand for bytes that could not be decoded."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command; the options of the connection may stand before or after the subcommand."""
    whole = argparse.ArgumentParser(
        prog="seqserve",
        description=f"{DESCRIPTION}\n\n{_grouped_commands()}",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=importlib.metadata.version("seqserve"))
    add_connection(whole)
    after = connection_after()
    subparsers = whole.add_subparsers(dest="command", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    for name, (command, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            description=summary.capitalize() + ".",
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[after],
        )
        command.add(subparser)
    return whole
