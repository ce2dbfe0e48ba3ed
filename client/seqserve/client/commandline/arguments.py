"""The arguments of ``seqserve``."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
from typing import Final, Protocol

from seqserve.client.client import Client
from seqserve.client.commandline import generate, health, models, score, tag
from seqserve.client.transport import PORT_DEFAULT, TIMEOUT_S_DEFAULT

SERVER_VARIABLE: Final = "SEQSERVE_SERVER"
"""Environment variable with the default of --server."""

DESCRIPTION: Final = "Call a seqserve server: generate and score text, tag sentences, look at its models."

EXIT_CODES: Final = "exit codes: 0 done, 1 the call failed, 2 wrong usage, 130 interrupted, 141 the reader left"


class Command(Protocol):
    """A module of this package that is a subcommand."""

    EXAMPLES: str

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Add its arguments."""

    def run(self, client: Client, arguments: argparse.Namespace) -> int:
        """Do its work and return the exit code."""
        ...


COMMANDS: Final[dict[str, tuple[Command, str]]] = {
    "generate": (generate, "generate text from a prompt"),
    "score": (score, "tell how likely a model finds a text"),
    "tag": (tag, "label every token of a sentence"),
    "models": (models, "list the models of the server, or tell about one"),
    "health": (health, "tell whether the server serves"),
}


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command; global options may stand before or after the subcommand."""
    whole = argparse.ArgumentParser(prog="seqserve", description=DESCRIPTION, epilog=EXIT_CODES)
    whole.add_argument("--version", action="version", version=importlib.metadata.version("seqserve"))
    _add_global(whole, given_only=False)
    after = argparse.ArgumentParser(add_help=False)
    _add_global(after, given_only=True)
    subparsers = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (command, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=summary.capitalize() + ".",
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[after],
        )
        command.add(subparser)
    return whole


def _add_global(target: argparse.ArgumentParser, *, given_only: bool) -> None:
    """Add the options of every command; with ``given_only`` they leave no default that would hide what stood before."""
    server = os.environ.get(SERVER_VARIABLE) or f"localhost:{PORT_DEFAULT}"
    target.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=argparse.SUPPRESS if given_only else server,
        help=f"where the server listens (default: ${SERVER_VARIABLE}, else localhost:{PORT_DEFAULT})",
    )
    target.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=argparse.SUPPRESS if given_only else TIMEOUT_S_DEFAULT,
        help=f"longest wait for an answer, or for the next piece of one (default: {TIMEOUT_S_DEFAULT:g})",
    )
    target.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS if given_only else False,
        help="one JSON object a line, for programs",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a time above 0 s")
    return seconds
