"""``seqserve sessions``: what a server keeps between requests."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from seqserve.client._sync.client import Client
from seqserve.client.cli.connection import connection_after, seconds
from seqserve.client.cli.output import print_json, print_table
from seqserve.client.cli.standard_input import read_bytes
from seqserve.client.types.sessions import SessionInfo

EXAMPLES: str = """examples:
  seqserve sessions create shakespeare-char --id romeo
  seqserve generate shakespeare-char "ROMEO:" --session romeo --checkpoint opening
  seqserve sessions fork romeo --checkpoint opening --id other
  seqserve sessions export romeo romeo.session
  seqserve --server elsewhere:50051 sessions import romeo.session
  seqserve sessions list
"""

_STANDARD: Final = "-"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions, each with its arguments."""
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", title="actions", help="what to do with sessions (default: list)"
    )
    parser.set_defaults(action="list", model=None)
    after = connection_after()

    def action(name: str, summary: str, *positional: tuple[str, str]) -> argparse.ArgumentParser:
        """A parser for one action with these positional arguments and what they mean."""
        added = actions.add_parser(name, help=summary, description=summary.capitalize() + ".", parents=[after])
        for argument, meaning in positional:
            added.add_argument(argument, metavar=argument.upper(), help=meaning)
        return added

    session = ("session", "id of the session")
    action("list", "list your sessions").add_argument("--model", metavar="MODEL", help="only those of this model")
    action("get", "describe a session", session)
    create = action("create", "create a session, or find the one of that id; prints its id", ("model", "its model"))
    create.add_argument("--version", type=int, metavar="N", help="version of the model (default: the newest)")
    create.add_argument("--keep-tokens", action="store_true", help="keep its tokens, to be read by another version")
    action("delete", "delete a session", session)
    fork = action("fork", "copy a session; prints the id of the copy", session)
    touch = action("touch", "postpone the expiry of a session", session)
    export = action("export", "write a session to a file", session, ("path", "the file; - is standard output"))
    restore = action("import", "create a session from a file; prints its id", ("path", "the file; - is standard input"))
    action("rewind", "rewind a session", session, ("checkpoint", "the state to go back to; later ones are dropped"))
    for added in (create, fork, restore):
        added.add_argument("--id", metavar="ID", help="id of the new session (default: the server draws one)")
    for added in (fork, export):
        added.add_argument("--checkpoint", metavar="NAME", help="the state kept under this name (default: as it is)")
    for added in (create, fork, touch, restore):
        added.add_argument("--ttl", type=seconds, metavar="SECONDS", help="time to live from its last use")


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    _ACTIONS[arguments.action](client, arguments)
    return 0


def _list(client: Client, arguments: argparse.Namespace) -> None:
    infos = client.sessions.list(arguments.model)
    if arguments.json:
        for info in infos:
            print_json(info)
    elif infos:
        table = Table("session", "model", "version", "position", "bytes", "expires")
        for info in infos:
            numbers = [str(info.servable.version), str(info.position), str(info.size_bytes)]
            table.add_row(Text(info.id), Text(info.servable.model), *numbers, _time(info.expire_time))
        print_table(table)
    else:
        print("no sessions")


def _get(client: Client, arguments: argparse.Namespace) -> None:
    _tell(client.sessions.get(arguments.session), arguments)


def _create(client: Client, arguments: argparse.Namespace) -> None:
    session = client.session(
        arguments.model,
        arguments.id,
        version=arguments.version,
        ttl_s=arguments.ttl,
        keep_tokens=arguments.keep_tokens,
    )
    _name(session.open().info(), arguments)


def _delete(client: Client, arguments: argparse.Namespace) -> None:
    client.sessions.delete(arguments.session)


def _fork(client: Client, arguments: argparse.Namespace) -> None:
    session = client.sessions.open(arguments.session)
    _name(session.fork(arguments.id, checkpoint=arguments.checkpoint, ttl_s=arguments.ttl).info(), arguments)


def _touch(client: Client, arguments: argparse.Namespace) -> None:
    _tell(client.sessions.open(arguments.session).touch(arguments.ttl), arguments)


def _export(client: Client, arguments: argparse.Namespace) -> None:
    session = client.sessions.open(arguments.session)
    if arguments.path == _STANDARD:
        sys.stdout.buffer.write(session.export(arguments.checkpoint))
    else:
        session.save(arguments.path, arguments.checkpoint)


def _import(client: Client, arguments: argparse.Namespace) -> None:
    standard = arguments.path == _STANDARD
    snapshot = read_bytes() if standard else Path(arguments.path).read_bytes()
    _name(client.sessions.restore(snapshot, arguments.id, ttl_s=arguments.ttl).info(), arguments)


def _rewind(client: Client, arguments: argparse.Namespace) -> None:
    _tell(client.sessions.open(arguments.session).rewind(arguments.checkpoint), arguments)


_ACTIONS: Final[dict[str, Callable[[Client, argparse.Namespace], None]]] = {
    "list": _list,
    "get": _get,
    "create": _create,
    "delete": _delete,
    "fork": _fork,
    "touch": _touch,
    "export": _export,
    "import": _import,
    "rewind": _rewind,
}


def _name(info: SessionInfo, arguments: argparse.Namespace) -> None:
    """Print the id of a new session, for a shell to keep."""
    if arguments.json:
        print_json(info)
    else:
        print(info.id)


def _tell(info: SessionInfo, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(info)
        return
    table = Table(show_header=False)
    checkpoints = ", ".join(f"{one.name} at {one.position:,}" for one in info.checkpoints)
    rows = {
        "session": info.id,
        "model": f"{info.servable.model} version {info.servable.version}",
        "position": f"{info.position:,} tokens",
        "checkpoints": checkpoints or "none",
        "size": f"{info.size_bytes:,} bytes",
        "created": _time(info.create_time),
        "updated": _time(info.update_time),
        "expires": f"{_time(info.expire_time)}, or {info.ttl_s:g} s after its next use",
        "tokens": "kept" if info.keep_tokens else "not kept",
        "busy": "yes" if info.busy else "no",
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    print_table(table)


def _time(time: dt.datetime) -> str:
    return time.astimezone().isoformat(" ", timespec="seconds")
