"""Sessions of a scripted server: ids, positions and checkpoints in memory, but no state."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import message as protobuf
from google.protobuf.message import DecodeError

from seqserve.client.errors import Resource
from seqserve.client.testing.failure import Failure
from seqserve.client.testing.scripts import SERVABLE
from seqserve.v1 import common_pb2, session_pb2, state_pb2

METHODS: Final[dict[str, tuple[type[protobuf.Message], type[protobuf.Message]]]] = {
    "CreateSession": (session_pb2.CreateSessionRequest, session_pb2.CreateSessionResponse),
    "GetSession": (session_pb2.GetSessionRequest, session_pb2.GetSessionResponse),
    "ListSessions": (session_pb2.ListSessionsRequest, session_pb2.ListSessionsResponse),
    "TouchSession": (session_pb2.TouchSessionRequest, session_pb2.TouchSessionResponse),
    "ForkSession": (session_pb2.ForkSessionRequest, session_pb2.ForkSessionResponse),
    "RewindSession": (session_pb2.RewindSessionRequest, session_pb2.RewindSessionResponse),
    "ExportSession": (session_pb2.ExportSessionRequest, session_pb2.ExportSessionResponse),
    "ImportSession": (session_pb2.ImportSessionRequest, session_pb2.ImportSessionResponse),
    "DeleteSession": (session_pb2.DeleteSessionRequest, session_pb2.DeleteSessionResponse),
}
"""What each method of SessionService takes and gives."""


class ScriptedSessions:
    """Answers SessionService as a server does, whoever asks; a snapshot is the serialized `Session`, times are 1970.

    Attributes:
        kept: The sessions by id.
    """

    def __init__(self) -> None:
        self.kept: dict[str, session_pb2.Session] = {}
        self._answers: dict[str, protobuf.Message] = {}

    async def __call__(self, request: protobuf.Message) -> protobuf.Message:
        """Answer a request; one that comes again with its request id, as the first time.

        Raises:
            Failure: as a server refuses it.
        """
        request_id: str = getattr(request, "request_id", "")
        if request_id in self._answers:
            return self._answers[request_id]
        answer = self._answer(request)
        if request_id:
            self._answers[request_id] = answer
        return answer

    def check(self, options: state_pb2.StateOptions) -> None:
        """Refuse a request whose session is not there.

        Raises:
            Failure: If it is not valid.
        """
        if options.session_id:
            self._find(options.session_id)

    def advance(self, options: state_pb2.StateOptions, result: state_pb2.StateResult, tokens: int) -> None:
        """Advance the session of a request, if it has one, and write where it is into the answer."""
        if not options.session_id:
            return
        session = self._find(options.session_id)
        session.position += tokens
        result.session_id, result.position = session.id, session.position
        if options.checkpoint:
            others = [one for one in session.checkpoints if one.name != options.checkpoint]
            del session.checkpoints[:]
            session.checkpoints.extend(
                [*others, session_pb2.Checkpoint(name=options.checkpoint, position=session.position)]
            )

    def _answer(self, request: protobuf.Message) -> protobuf.Message:
        match request:
            case session_pb2.CreateSessionRequest():
                servable = common_pb2.ServableId(model=request.model.name, version=1, digest=SERVABLE.digest)
                new = session_pb2.Session(servable=servable, ttl=request.ttl, keep_tokens=request.keep_tokens)
                return session_pb2.CreateSessionResponse(session=self._add(new, request.session_id))
            case session_pb2.GetSessionRequest():
                return session_pb2.GetSessionResponse(session=self._find(request.session_id))
            case session_pb2.ListSessionsRequest():
                listed = [one for _, one in sorted(self.kept.items()) if request.model in ("", one.servable.model)]
                return session_pb2.ListSessionsResponse(sessions=listed)
            case session_pb2.TouchSessionRequest():
                session = self._find(request.session_id)
                if request.HasField("ttl"):
                    session.ttl.CopyFrom(request.ttl)
                return session_pb2.TouchSessionResponse(session=session)
            case session_pb2.ForkSessionRequest():
                copy = self._at(request.session_id, request.checkpoint)
                return session_pb2.ForkSessionResponse(session=self._add(copy, request.new_session_id))
            case session_pb2.RewindSessionRequest():
                self.kept[request.session_id] = self._at(request.session_id, request.checkpoint)
                return session_pb2.RewindSessionResponse(session=self.kept[request.session_id])
            case session_pb2.ExportSessionRequest():
                session = self._at(request.session_id, request.checkpoint)
                return session_pb2.ExportSessionResponse(snapshot=session.SerializeToString(), session=session)
            case session_pb2.ImportSessionRequest():
                try:
                    session = session_pb2.Session.FromString(request.snapshot)
                except DecodeError as error:
                    raise Failure(
                        grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_SNAPSHOT_INVALID", "not a snapshot"
                    ) from error
                return session_pb2.ImportSessionResponse(session=self._add(session, request.session_id))
            case session_pb2.DeleteSessionRequest():
                del self.kept[self._find(request.session_id).id]
                return session_pb2.DeleteSessionResponse()
            case _:
                raise Failure(grpc.StatusCode.UNIMPLEMENTED)

    def _find(self, session_id: str) -> session_pb2.Session:
        if session_id not in self.kept:
            raise Failure(
                grpc.StatusCode.NOT_FOUND,
                "ERROR_REASON_SESSION_NOT_FOUND",
                f"session {session_id!r} does not exist",
                resource=Resource("session", session_id),
            )
        return self.kept[session_id]

    def _add(self, session: session_pb2.Session, session_id: str) -> session_pb2.Session:
        session.id = session_id or f"session-{len(self._answers)}"
        if session.id in self.kept:
            raise Failure(
                grpc.StatusCode.ALREADY_EXISTS,
                "ERROR_REASON_SESSION_EXISTS",
                f"session {session.id!r} exists",
                resource=Resource("session", session.id),
            )
        self.kept[session.id] = session
        return session

    def _at(self, session_id: str, checkpoint: str) -> session_pb2.Session:
        """A copy of a session, as it is now ("") or was at a checkpoint."""
        session = session_pb2.Session()
        session.CopyFrom(self._find(session_id))
        names = [one.name for one in session.checkpoints]
        if checkpoint and checkpoint not in names:
            raise Failure(
                grpc.StatusCode.NOT_FOUND, "ERROR_REASON_CHECKPOINT_NOT_FOUND", f"no checkpoint {checkpoint!r}"
            )
        if checkpoint:
            last = names.index(checkpoint)
            session.position = session.checkpoints[last].position
            del session.checkpoints[last + 1 :]
        return session
