"""What tests of the client share."""

import json
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from seqserve.client.testing import Failure, ScriptedServer

Run = Callable[..., int]
"""The command against the scripted server: arguments in, exit code out."""

GONE = Failure(grpc.StatusCode.UNAVAILABLE, "", "Socket closed")


def ids(server: ScriptedServer) -> list[str]:
    return sorted(server.sessions.kept)


def loses_answers(server: ScriptedServer) -> None:
    """Each request is carried out, and the answer to its first attempt is lost."""
    seen: list[Message] = []

    async def script(request: Message) -> Message:
        try:
            return await server.sessions(request)
        finally:
            if request not in seen:
                seen.append(request)
                raise GONE

    server.on_session = script


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def refuses(failure: Failure) -> Any:
    async def refuse(request: Any) -> Any:
        raise failure

    return refuse


def cells(table: str) -> list[list[str]]:
    """The rows of a table, without its lines."""
    rows = [line.replace("┃", "│").split("│")[1:-1] for line in table.splitlines()]
    return [[cell.strip() for cell in row] for row in rows if row]
