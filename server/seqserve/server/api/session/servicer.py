"""SessionService: manages states that the server keeps between requests."""

from __future__ import annotations

from typing import Any

import grpc.aio

from seqserve.server.api import fields, state
from seqserve.server.api.session import responses
from seqserve.server.errors import InvalidFieldError
from seqserve.server.sessions import SessionAdmin
from seqserve.server.settings import SessionSettings
from seqserve.v1 import session_pb2 as pb
from seqserve.v1.session_pb2_grpc import SessionServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]

_PAGE_DEFAULT, _PAGE_MAX = 100, 1000


class SessionServicer(SessionServiceServicer):
    """Answers SessionService."""

    def __init__(self, admin: SessionAdmin, settings: SessionSettings) -> None:
        self._admin = admin
        self._settings = settings

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Context) -> pb.CreateSessionResponse:
        """Creates a session at position 0."""
        session = await self._admin.create(
            fields.owner(context),
            _new_id(request.session_id, "session_id"),
            fields.model_ref(request.model),
            self._ttl_s(request),
            state.request_id(request.request_id),
            keep_tokens=request.keep_tokens,
        )
        return pb.CreateSessionResponse(session=responses.session(session))

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        """Describes a session."""
        session = await self._admin.get(fields.owner(context), _id(request))
        return pb.GetSessionResponse(session=responses.session(session))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        """Lists the caller's sessions. The token of a page is the last id of the page before."""
        size = fields.integer(request, "page_size", _PAGE_DEFAULT, 1, _PAGE_MAX, "")
        after = _new_id(request.page_token, "page_token")
        sessions, last_id = await self._admin.list(fields.owner(context), request.model, after, size)
        return pb.ListSessionsResponse(
            sessions=[responses.session(session) for session in sessions],
            next_page_token=last_id,
        )

    async def TouchSession(self, request: pb.TouchSessionRequest, context: Context) -> pb.TouchSessionResponse:
        """Extends the life of a session."""
        session = await self._admin.touch(fields.owner(context), _id(request), self._ttl_s(request))
        return pb.TouchSessionResponse(session=responses.session(session))

    async def ForkSession(self, request: pb.ForkSessionRequest, context: Context) -> pb.ForkSessionResponse:
        """Copies a session, in its current state or at a checkpoint."""
        if request.HasField("checkpoint") and not request.checkpoint:
            raise InvalidFieldError("checkpoint is empty; name one, or leave it out", field="checkpoint")
        session = await self._admin.fork(
            fields.owner(context),
            _id(request),
            _new_id(request.new_session_id, "new_session_id"),
            state.checkpoint(request.checkpoint, "checkpoint"),
            state.expected_position(request, "expected_position"),
            self._ttl_s(request),
            state.request_id(request.request_id),
        )
        return pb.ForkSessionResponse(session=responses.session(session))

    async def RewindSession(self, request: pb.RewindSessionRequest, context: Context) -> pb.RewindSessionResponse:
        """Resets a session to a checkpoint."""
        if not request.checkpoint:
            raise InvalidFieldError("checkpoint is empty; name the one to go back to", field="checkpoint")
        session = await self._admin.rewind(
            fields.owner(context),
            _id(request),
            state.checkpoint(request.checkpoint, "checkpoint"),
            state.expected_position(request, "expected_position"),
            state.request_id(request.request_id),
        )
        return pb.RewindSessionResponse(session=responses.session(session))

    async def ExportSession(self, request: pb.ExportSessionRequest, context: Context) -> pb.ExportSessionResponse:
        """Exports a session as a snapshot."""
        name = state.checkpoint(request.checkpoint, "checkpoint")
        snapshot, session = await self._admin.export(fields.owner(context), _id(request), name)
        return pb.ExportSessionResponse(snapshot=snapshot, session=responses.session(session))

    async def ImportSession(self, request: pb.ImportSessionRequest, context: Context) -> pb.ImportSessionResponse:
        """Creates a session from a snapshot."""
        session = await self._admin.import_(
            fields.owner(context),
            _new_id(request.session_id, "session_id"),
            request.snapshot,
            self._ttl_s(request),
            state.request_id(request.request_id),
        )
        return pb.ImportSessionResponse(session=responses.session(session))

    async def DeleteSession(self, request: pb.DeleteSessionRequest, context: Context) -> pb.DeleteSessionResponse:
        """Deletes a session and its state."""
        await self._admin.delete(fields.owner(context), _id(request))
        return pb.DeleteSessionResponse()

    def _ttl_s(
        self,
        request: pb.CreateSessionRequest | pb.TouchSessionRequest | pb.ForkSessionRequest | pb.ImportSessionRequest,
    ) -> float | None:
        return state.ttl_s(request.ttl if request.HasField("ttl") else None, self._settings)


def _id(
    request: pb.GetSessionRequest
    | pb.TouchSessionRequest
    | pb.ForkSessionRequest
    | pb.RewindSessionRequest
    | pb.ExportSessionRequest
    | pb.DeleteSessionRequest,
) -> str:
    return state.session_id(request.session_id, "session_id")


def _new_id(value: str, field: str) -> str:
    """Validates an optional id."""
    return state.session_id(value, field) if value else ""
