"""The options of every command: server, principal, time-out, and output format."""

from __future__ import annotations

import argparse
import os
from typing import Final

from seqserve.client.core.channel import PORT_DEFAULT, TIMEOUT_S_DEFAULT

SERVER_VARIABLE: Final = "SEQSERVE_SERVER"
"""Environment variable with the default of --server."""

PRINCIPAL_VARIABLE: Final = "SEQSERVE_PRINCIPAL"
"""Environment variable with the default of --principal."""


def add_connection(target: argparse.ArgumentParser) -> None:
    """Add the options with their defaults."""
    _add(
        target,
        server=os.environ.get(SERVER_VARIABLE) or f"localhost:{PORT_DEFAULT}",
        principal=os.environ.get(PRINCIPAL_VARIABLE) or None,
        timeout=TIMEOUT_S_DEFAULT,
        json=False,
    )


def connection_after() -> argparse.ArgumentParser:
    """A parent of subcommands: the options without defaults, which would hide what stood before the subcommand."""
    parent = argparse.ArgumentParser(add_help=False)
    suppress = argparse.SUPPRESS
    _add(parent, server=suppress, principal=suppress, timeout=suppress, json=suppress)
    return parent


def seconds(text: str) -> float:
    """A time above 0, as an argument."""
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"must be above 0 s, got {text}")
    return number


def _add(
    target: argparse.ArgumentParser, *, server: str, principal: str | None, timeout: float | str, json: bool | str
) -> None:
    group = target.add_argument_group("connection and output")
    group.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=server,
        help=f"address of the server (default: ${SERVER_VARIABLE}, else localhost:{PORT_DEFAULT})",
    )
    group.add_argument(
        "--principal",
        metavar="NAME",
        default=principal,
        help=f"name of the caller, who sees only own sessions (default: ${PRINCIPAL_VARIABLE}, else nobody)",
    )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=timeout,
        help=f"longest wait for an answer, or for the next piece of one (default: {TIMEOUT_S_DEFAULT:g})",
    )
    group.add_argument("--json", action="store_true", default=json, help="one JSON object a line, for programs")
