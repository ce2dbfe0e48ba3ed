"""Begins the transactions of requests with state."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from seqserve.server.errors import (
    InvalidFieldError,
    SessionBusyError,
    SnapshotInvalidError,
    StoreDataLossError,
)
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.repository import Model, Repository
from seqserve.server.sessions.live_sessions import LiveSessions
from seqserve.server.sessions.model_resolution import require_state, require_tokens_alone, resolve_model
from seqserve.server.sessions.session_record import Session, check_checkpoint, check_position, was_applied, with_tokens
from seqserve.server.sessions.snapshot import pack, unseal
from seqserve.server.sessions.spec import Destination, StateSpec
from seqserve.server.sessions.transaction import (
    RepeatedTransaction,
    SessionTransaction,
    SnapshotTransaction,
    StateTransaction,
)
from seqserve.server.settings import SessionSettings
from seqserve.server.stores import Lease, Record, SessionKey
from seqserve.v1 import state_pb2 as pb
from seqserve.v1 import stored_pb2


class Sessions:
    """Begins a transaction for every request that may carry state."""

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
        self.counts = live_sessions.counts
        self._repository = repository
        self._live_sessions = live_sessions
        self._settings = settings
        self._key = settings.signing_key
        self._now = now

    @asynccontextmanager
    async def begin(
        self, spec: StateSpec | None, ref: tuple[str, int | None], owner: str
    ) -> AsyncGenerator[StateTransaction]:
        """Chooses the model, reads the state, and holds the session and the model until the block is left.

        Args:
            spec: What the request says about its state. None: it has none.
            ref: Name and version of the model in the request.
            owner: The caller, as fields.owner returns it.

        Raises:
            SessionNotFoundError, SessionExpiredError: There is no live session.
            SessionBusyError: Another request advances the session.
            PositionMismatchError: The state is not at the expected position.
            ServableMismatchError: The model cannot continue the state.
            SnapshotInvalidError: The snapshot is invalid.
            InvalidFieldError: Fields of the spec contradict the session or the model.
            ModelNotFoundError, VersionNotFoundError, ModelNotReadyError: As Repository.model.
            StoreFullError, StoreUnavailableError, StoreDataLossError: The store failed.
        """
        async with AsyncExitStack() as stack:
            if spec is None:
                transaction = StateTransaction(self._repository.model(*ref), SequenceState.new())
            elif spec.session_id is None:
                transaction = self._begin_stateless(spec, ref)
            elif spec.destination is Destination.SESSION:
                transaction = await self._begin_holding(spec, ref, SessionKey(owner, spec.session_id), stack)
            else:
                transaction = await self._begin_reading(spec, ref, SessionKey(owner, spec.session_id))
            with self._repository.hold(transaction.model):  # no await since it was chosen, so it is still loaded
                yield transaction

    def _begin_stateless(self, spec: StateSpec, ref: tuple[str, int | None]) -> StateTransaction:
        """Begins a request that continues a snapshot or a new sequence."""
        if spec.snapshot is None:
            check_position(0, spec.expected_position)
            return self._without_session(spec, self._repository.model(*ref), SequenceState.new())
        payload = unseal(spec.snapshot, self._key, self._settings.snapshot_bytes_max)
        check_position(payload.position, spec.expected_position)
        model, initial = resolve_model(payload, ref, self._repository, self._settings.on_model_change)
        return self._without_session(spec, model, initial, keep_tokens=bool(len(initial.tokens)))

    async def _begin_reading(self, spec: StateSpec, ref: tuple[str, int | None], key: SessionKey) -> StateTransaction:
        """Begins a request that reads a session and does not advance it, so it needs no lease."""
        session = await (self._live_sessions.find(key) if spec.create else self._live_sessions.read(key))
        if session is None:
            check_position(0, spec.expected_position)
            return self._without_session(spec, self._repository.model(*ref), SequenceState.new())
        check_position(session.record.position, spec.expected_position)
        model, initial = self._resolve_stored(session, session.stored.state, ref)
        return self._without_session(spec, model, initial, keep_tokens=session.stored.keep_tokens)

    def _without_session(
        self, spec: StateSpec, model: Model, initial: SequenceState, *, keep_tokens: bool = False
    ) -> StateTransaction:
        """Returns the transaction of a request that stores no session."""
        if spec.destination is Destination.DISCARD:
            return StateTransaction(model, initial)
        require_state(model)
        keeps = _check_keep_tokens(
            model, initial, f"{spec.path}state.keep_tokens", wanted=spec.keep_tokens or keep_tokens
        )
        return SnapshotTransaction(model, initial, self._key, self._now(), keep_tokens=keeps)

    async def _begin_holding(
        self, spec: StateSpec, ref: tuple[str, int | None], key: SessionKey, stack: AsyncExitStack
    ) -> StateTransaction:
        """Begins a request that advances a session, or repeats one that did."""
        lease = await self._acquire(key, spec, stack)
        session = await (self._live_sessions.find(key) if spec.create else self._live_sessions.read(key))
        if session is not None and was_applied(session.stored, spec.request_id, spec.request_digest, spec.path):
            return self._repeated(spec, ref, session)
        if lease is None:
            raise SessionBusyError(f"another request is advancing session {key.id!r}", resource=("session", key.id))
        if session is None:
            session = self._new_session(spec, require_state(self._repository.model(*ref)), key)
        check_position(session.record.position, spec.expected_position)
        check_checkpoint(session.stored, spec, self._settings.checkpoints_max)
        model, initial = self._resolve_stored(session, session.stored.state, ref)
        session.stored.keep_tokens = _check_keep_tokens(
            model, initial, f"{spec.path}state.keep_tokens", wanted=spec.keep_tokens or session.stored.keep_tokens
        )
        return SessionTransaction(model, initial, spec, self._live_sessions, lease, session, self._now())

    async def _acquire(self, key: SessionKey, spec: StateSpec, stack: AsyncExitStack) -> Lease | None:
        """Returns the lease of a session, after waiting if requested. None: the request was applied and needs none."""
        while True:
            try:
                return await stack.enter_async_context(self._live_sessions.hold(key, spec.request_id))
            except SessionBusyError:
                session = await self._live_sessions.find(key) if spec.request_id else None
                if session is not None and was_applied(session.stored, spec.request_id, spec.request_digest, spec.path):
                    return None
                if not spec.wait:
                    raise
            await self._live_sessions.store.wait_free(key)

    def _repeated(self, spec: StateSpec, ref: tuple[str, int | None], session: Session) -> RepeatedTransaction:
        last = session.stored.last
        check_position(last.before.position, spec.expected_position)
        model, initial = self._resolve_stored(session, with_tokens(session.stored, last.before), ref)
        return RepeatedTransaction(model, replace(initial, seed=last.seed), session, spec)

    def _new_session(self, spec: StateSpec, model: Model, key: SessionKey) -> Session:
        """Returns a session that the commit of its first request creates."""
        identity = model.servable.id
        record = Record(key, identity.model, identity.digest, 0, self._settings.ttl_default_s, b"")
        state = pack(SequenceState.new(), model.servable, self._now())
        return Session(record, stored_pb2.StoredSession(state=state, create_request_id=spec.request_id))

    def _resolve_stored(
        self, session: Session, payload: pb.SnapshotPayload, ref: tuple[str, int | None]
    ) -> tuple[Model, SequenceState]:
        """Calls resolve_model for a stored state, which must be valid."""
        try:
            return resolve_model(payload, ref, self._repository, self._settings.on_model_change)
        except SnapshotInvalidError as error:
            raise StoreDataLossError(
                f"the stored data of session {session.record.key.id!r} is damaged: {error.message}"
            ) from error


def _check_keep_tokens(model: Model, initial: SequenceState, field: str, *, wanted: bool) -> bool:
    """Returns whether the tokens are kept.

    Raises:
        InvalidFieldError: They should be, but earlier tokens were not kept, or the model reads more than token ids.
    """
    if wanted:
        require_tokens_alone(model, field)
    if wanted and initial.position and not len(initial.tokens):
        raise InvalidFieldError(
            f"{field} is set at position {initial.position}, but the earlier tokens were not kept; set it from the "
            "first request of a sequence on",
            field=field,
        )
    return wanted
