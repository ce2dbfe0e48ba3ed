"""Operations on sessions other than advancing them: create, get, list, touch, fork, rewind, export, import, delete."""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from seqserve.server.errors import SessionExistsError, SessionNotFoundError, StoreDataLossError
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

log = logging.getLogger(__name__)

_ID_BYTES = 18  # of a random id, which has 24 characters


class SessionAdmin:
    """Manages sessions. An owner sees only the sessions of that owner."""

    def __init__(
        self,
        repository: Repository,
        live_sessions: LiveSessions,
        settings: SessionSettings,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Stores the arguments.

        Args:
            repository: The loaded versions.
            live_sessions: The store.
            settings: Limits and policies.
            now: Returns the unix time in seconds.
        """
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
        """Creates a session at position 0, or returns the one that the same request created before.

        Args:
            owner: The caller.
            id_: Id of the session. "": a random one.
            ref: Name and version of the model.
            ttl_s: Time to live in seconds. None: the default.
            request_id: Identifies the request. "": it is not protected against repetition.
            keep_tokens: Keep the tokens with the state.

        Raises:
            SessionExistsError: A session has this id.
            TaskMismatchError: The model has no state.
            InvalidFieldError: keep_tokens is set, but the model reads more than token ids.
            ModelNotFoundError, VersionNotFoundError, ModelNotReadyError: As Repository.model.
            StoreFullError, StoreUnavailableError: The store failed.
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
        """Returns a session. Raises: SessionNotFoundError, SessionExpiredError."""
        return await self._live_sessions.read(SessionKey(owner, id_))

    async def list(self, owner: str, model: str, after: str, count: int) -> tuple[list[Session], str]:
        """Returns sessions in order of their ids, and the id after which there are more, or "".

        Damaged sessions are left out, so that fewer sessions than `count` do not mean that there are no more. The
        arguments are those of Store.list.
        """
        records = await self._live_sessions.store.list(owner, model, after, count + 1)
        sessions: list[Session] = []
        for record in records[:count]:
            try:
                sessions.append(self._live_sessions.session(record))
            except StoreDataLossError as error:
                log.warning("a damaged session is left out of a list: %s", error.message)
        return sessions, records[count - 1].key.id if len(records) > count else ""

    async def touch(self, owner: str, id_: str, ttl_s: float | None) -> Session:
        """Restarts the time to live of a session, with a new one unless ttl_s is None. Raises: As get."""
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
        """Copies a session, at its current state ("") or a checkpoint, with the checkpoints up to there.

        Raises:
            SessionNotFoundError, SessionExpiredError: As get.
            PositionMismatchError: The session is not at the expected position.
            CheckpointNotFoundError: There is no such checkpoint.
            SessionExistsError: A session has the new id.
        """
        session = await self._live_sessions.read(SessionKey(owner, id_))
        key = _key(owner, new_id, f"fork {id_}", request_id)
        if (
            request_id
            and (existing := await self._live_sessions.find(key))
            and existing.stored.create_request_id == request_id
        ):
            return existing  # even if the original has advanced since
        check_position(session.record.position, expected_position)
        copy = fork(session.stored, checkpoint, request_id)
        added, created = await self._add(key, copy, session.record.ttl_s if ttl_s is None else ttl_s)
        self._live_sessions.counts.forked += created
        return added

    async def rewind(
        self, owner: str, id_: str, checkpoint: str, expected_position: int | None, request_id: str
    ) -> Session:
        """Resets a session to a checkpoint. A repeated request changes nothing.

        Raises:
            SessionNotFoundError, SessionExpiredError: As get.
            SessionBusyError: Another request advances the session.
            PositionMismatchError: The session is not at the expected position.
            CheckpointNotFoundError: There is no such checkpoint.
            InvalidFieldError: The last request had this id and different content.
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
        """Returns a snapshot of the current state ("") or a checkpoint. Raises: As get; CheckpointNotFoundError."""
        session = await self._live_sessions.read(SessionKey(owner, id_))
        return seal(state_at(session.stored, checkpoint), self._key), session

    async def import_(self, owner: str, id_: str, snapshot: bytes, ttl_s: float | None, request_id: str) -> Session:
        """Creates a session from a snapshot. The other arguments are those of create.

        Raises:
            SnapshotInvalidError: The snapshot is invalid.
            ServableMismatchError: The servable of the snapshot is not loaded.
            SessionExistsError: A session has this id.
            StoreFullError, StoreUnavailableError: The store failed.
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
        """Deletes a session. Raises: As get."""
        key = SessionKey(owner, id_)
        if not await self._live_sessions.store.delete(key):
            require_live(key, await self._live_sessions.store.read(key))
            raise SessionNotFoundError(f"session {id_!r} does not exist", resource=("session", id_))

    async def _add(
        self, key: SessionKey, stored: stored_pb2.StoredSession, ttl_s: float | None
    ) -> tuple[Session, bool]:
        """Stores a new session, or finds the one that the same request created before.

        Returns:
            The session, and whether it is new.
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
    """Returns the record of a session that was changed."""
    state = session.stored.state
    return replace(
        session.record,
        model=state.servable.model,
        digest=state.servable.digest,
        position=state.position,
        body=session.stored.SerializeToString(),
    )


def _key(owner: str, id_: str, what: str, request_id: str) -> SessionKey:
    """Returns the key of a new session: with the given id, or one derived from the request, or a random one."""
    if not id_ and request_id:
        digest = hashlib.sha256(f"{what}\0{request_id}".encode()).digest()
        id_ = base64.urlsafe_b64encode(digest[:_ID_BYTES]).decode()
    return SessionKey(owner, id_ or secrets.token_urlsafe(_ID_BYTES))
