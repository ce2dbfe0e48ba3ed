"""The operations on sessions beside advancing them: create, look, list, touch, fork, rewind, export, import, delete."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from seqserve.server.errors import SessionExistsError, SessionNotFoundError
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.repository import Repository
from seqserve.server.sessions.live_sessions import LiveSessions, require_live
from seqserve.server.sessions.model_resolution import require_state, require_tokens_alone
from seqserve.server.sessions.session_record import (
    Session,
    check_position,
    fork,
    rewind,
    rewind_digest,
    state_at,
    was_applied,
)
from seqserve.server.sessions.snapshot import mismatch, pack, seal, unpack, unseal
from seqserve.server.settings import SessionSettings
from seqserve.server.stores import Record, SessionKey
from seqserve.v1 import stored_pb2

_ID_BYTES = 18  # of a drawn id: 24 characters


class SessionAdmin:
    """All sessions, each owner's apart: another's are as if they were not there."""

    def __init__(
        self,
        repository: Repository,
        live_sessions: LiveSessions,
        settings: SessionSettings,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Args: now: unix time in seconds."""
        self._repository = repository
        self._live_sessions = live_sessions
        self._settings = settings
        self._key = settings.signing_key
        self._now = now

    async def create(
        self,
        owner: str,
        id_: str,
        ref: tuple[str, int | None],
        ttl_s: float | None,
        request_id: str,
        *,
        keep_tokens: bool,
    ) -> Session:
        """A session at position 0, or the one that the same request created before.

        Args: id_: "": draw one. ref: name and version of the model. ttl_s: None: the default.
        Raises: SessionExistsError, TaskMismatchError, InvalidFieldError; as Repository.model and the store.
        """
        model = require_state(self._repository.model(*ref))
        if keep_tokens:
            require_tokens_alone(model, "keep_tokens")
        stored = stored_pb2.StoredSession(
            state=pack(SequenceState.new(), model.servable, self._now()),
            keep_tokens=keep_tokens,
            create_request_id=request_id,
        )
        session, _ = await self._add(_key(owner, id_, "create", request_id), stored, ttl_s)
        return session

    async def get(self, owner: str, id_: str) -> Session:
        """A session. Raises: SessionNotFoundError, SessionExpiredError."""
        return await self._live_sessions.read(SessionKey(owner, id_))

    async def list(self, owner: str, model: str, after: str, count: int) -> tuple[list[Session], bool]:
        """Sessions by id, and whether there are more. Args: as Store.list."""
        records = await self._live_sessions.store.list(owner, model, after, count + 1)
        return [self._live_sessions.session(record) for record in records[:count]], len(records) > count

    async def touch(self, owner: str, id_: str, ttl_s: float | None) -> Session:
        """Begin a session's time to live anew. Args: ttl_s: None: as it was. Raises: as get."""
        key = SessionKey(owner, id_)
        return self._live_sessions.session(require_live(key, await self._live_sessions.store.touch(key, ttl_s)))

    async def fork(
        self,
        owner: str,
        id_: str,
        new_id: str,
        checkpoint: str,
        expected_position: int | None,
        ttl_s: float | None,
        request_id: str,
    ) -> Session:
        """A copy of a session, from now ("") or a checkpoint, with the checkpoints up to there.

        Raises: as get; PositionMismatchError, CheckpointNotFoundError, SessionExistsError.
        """
        session = await self._live_sessions.read(SessionKey(owner, id_))
        key = _key(owner, new_id, f"fork {id_}", request_id)
        if (
            request_id
            and (existing := await self._live_sessions.find(key))
            and existing.stored.create_request_id == request_id
        ):
            return existing  # also where the original has gone on since
        check_position(session.record.position, expected_position)
        copy = fork(session.stored, checkpoint, request_id)
        added, created = await self._add(key, copy, session.record.ttl_s if ttl_s is None else ttl_s)
        self._live_sessions.counts.forked += created
        return added

    async def rewind(
        self, owner: str, id_: str, checkpoint: str, expected_position: int | None, request_id: str
    ) -> Session:
        """Set a session back to a checkpoint; a request that is repeated finds it as it is.

        Raises: as get; SessionBusyError, PositionMismatchError, CheckpointNotFoundError, InvalidFieldError.
        """
        key = SessionKey(owner, id_)
        async with self._live_sessions.hold(key, request_id) as lease:
            session = await self._live_sessions.read(key)
            if not was_applied(session.stored, request_id, rewind_digest(checkpoint)):
                check_position(session.record.position, expected_position)
                rewind(session.stored, checkpoint, request_id)
                session = self._live_sessions.session(await self._live_sessions.store.write(_record(session), lease))
        return replace(session, busy=False)

    async def export(self, owner: str, id_: str, checkpoint: str) -> tuple[bytes, Session]:
        """A session as a snapshot, now ("") or at a checkpoint. Raises: as get; CheckpointNotFoundError."""
        session = await self._live_sessions.read(SessionKey(owner, id_))
        return seal(state_at(session.stored, checkpoint), self._key), session

    async def import_(self, owner: str, id_: str, snapshot: bytes, ttl_s: float | None, request_id: str) -> Session:
        """A session made of a snapshot. Args: as create.

        Raises: SnapshotInvalidError, ServableMismatchError, SessionExistsError; as the store.
        """
        payload = unseal(snapshot, self._key, self._settings.snapshot_bytes_max)
        model = self._repository.find_by_digest(payload.servable.digest, payload.servable.model)
        if model is None:
            raise mismatch(payload, None)
        initial = unpack(payload, require_state(model).servable)
        state = pack(initial, model.servable, self._now())
        stored = stored_pb2.StoredSession(
            state=state, keep_tokens=bool(len(initial.tokens)), create_request_id=request_id
        )
        session, created = await self._add(_key(owner, id_, "import", request_id), stored, ttl_s)
        self._live_sessions.counts.restored += created
        return session

    async def delete(self, owner: str, id_: str) -> None:
        """Forget a session. Raises: as get."""
        key = SessionKey(owner, id_)
        if not await self._live_sessions.store.delete(key):
            require_live(key, await self._live_sessions.store.read(key))
            raise SessionNotFoundError(f"there is no session {id_!r}", resource=("session", id_))

    async def _add(
        self, key: SessionKey, stored: stored_pb2.StoredSession, ttl_s: float | None
    ) -> tuple[Session, bool]:
        """Keep a new session, or find the one that the same request created before.

        Returns: It, and whether it is new.
        """
        state = stored.state
        ttl_s = self._settings.ttl_default_s if ttl_s is None else ttl_s
        body = stored.SerializeToString()
        record = Record(key, state.servable.model, state.servable.digest, state.position, ttl_s, body)
        kept, created = await self._live_sessions.store.create(record)
        session = self._live_sessions.session(kept)
        if created:
            self._live_sessions.counts.created += 1
        elif not stored.create_request_id or session.stored.create_request_id != stored.create_request_id:
            raise SessionExistsError(
                f"session {key.id!r} exists; use it, or choose another id", resource=("session", key.id)
            )
        return session, created


def _record(session: Session) -> Record:
    """What a store is to keep of a session that was changed."""
    state = session.stored.state
    return replace(
        session.record,
        model=state.servable.model,
        digest=state.servable.digest,
        position=state.position,
        body=session.stored.SerializeToString(),
    )


def _key(owner: str, id_: str, what: str, request_id: str) -> SessionKey:
    """The key of a new session: the id that was given, else the same for the same request, else one drawn."""
    if not id_ and request_id:
        digest = hashlib.sha256(f"{what}\0{request_id}".encode()).digest()
        id_ = base64.urlsafe_b64encode(digest[:_ID_BYTES]).decode()
    return SessionKey(owner, id_ or secrets.token_urlsafe(_ID_BYTES))
