"""What tests of sessions share."""

import grpc
from google.protobuf.message import Message

from seqserve.client.testing import Failure, ScriptedServer

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
