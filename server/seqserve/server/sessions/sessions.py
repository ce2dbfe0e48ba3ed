"""Sessions: what a request with state goes through, from its start to its commit."""

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
from seqserve.server.model.sequence_state import Start
from seqserve.server.repository import Model, Repository
from seqserve.server.sessions.live_sessions import Shelf
from seqserve.server.sessions.model_resolution import carrying, goes_on, keeping
from seqserve.server.sessions.session_record import Session, check_checkpoint, check_position, was_applied, with_tokens
from seqserve.server.sessions.snapshot import pack, unseal
from seqserve.server.sessions.spec import Destination, StateSpec
from seqserve.server.sessions.transaction import Advance, Repeating, Sealing, Storing
from seqserve.server.settings import SessionSettings
from seqserve.server.stores import Lease, Record, SessionKey
from seqserve.v1 import state_pb2 as pb
from seqserve.v1 import stored_pb2


class Sessions:
    """The door for every request that may carry state."""

    def __init__(
        self, repository: Repository, shelf: Shelf, settings: SessionSettings, now: Callable[[], float] = time.time
    ) -> None:
        """Args: now: unix time in seconds."""
        self.counts = shelf.counts
        self._repository = repository
        self._shelf = shelf
        self._settings = settings
        self._key = settings.signing_key
        self._now = now

    @asynccontextmanager
    async def advance(self, spec: StateSpec | None, ref: tuple[str, int | None], owner: str) -> AsyncGenerator[Advance]:
        """Choose the model, find the state, and hold the session and the model until the block is left.

        Args:
            spec: None: no state comes or goes.
            ref: name and version of the model as the request has them.
            owner: who asks: fields.owner of the call.
        Raises: SessionNotFoundError, SessionExpiredError, SessionBusyError, PositionMismatchError,
            ServableMismatchError, SnapshotInvalidError, InvalidFieldError; as Repository.model and the store.
        """
        async with AsyncExitStack() as stack:
            if spec is None:
                advance = Advance(self._repository.model(*ref), Start.new())
            elif spec.session_id is None:
                advance = self._from_bytes(spec, ref)
            elif spec.destination is Destination.SESSION:
                advance = await self._from_held(spec, ref, SessionKey(owner, spec.session_id), stack)
            else:
                advance = await self._from_read(spec, ref, SessionKey(owner, spec.session_id))
            with self._repository.hold(advance.model):  # nothing was awaited since it was chosen
                yield advance

    def _from_bytes(self, spec: StateSpec, ref: tuple[str, int | None]) -> Advance:
        """A request with a snapshot, or with a new sequence."""
        if spec.snapshot is None:
            check_position(0, spec.expected_position)
            return self._passing(spec, self._repository.model(*ref), Start.new())
        payload = unseal(spec.snapshot, self._key, self._settings.snapshot_bytes_max)
        check_position(payload.position, spec.expected_position)
        model, start = goes_on(payload, ref, self._repository, self._settings.on_model_change)
        return self._passing(spec, model, start, keep_tokens=bool(len(start.tokens)))

    async def _from_read(self, spec: StateSpec, ref: tuple[str, int | None], key: SessionKey) -> Advance:
        """A request that begins where a session is and leaves it there: it does not need the session for itself."""
        session = await (self._shelf.find(key) if spec.create else self._shelf.read(key))
        if session is None:
            check_position(0, spec.expected_position)
            return self._passing(spec, self._repository.model(*ref), Start.new())
        check_position(session.record.position, spec.expected_position)
        model, start = self._goes_on(session, session.stored.state, ref)
        return self._passing(spec, model, start, keep_tokens=session.stored.keep_tokens)

    def _passing(self, spec: StateSpec, model: Model, start: Start, *, keep_tokens: bool = False) -> Advance:
        """A request that leaves no session behind."""
        if spec.destination is Destination.DISCARD:
            return Advance(model, start)
        carrying(model)
        keeps = _keeps(model, start, f"{spec.path}state.keep_tokens", wanted=spec.keep_tokens or keep_tokens)
        return Sealing(model, start, self._key, self._now(), keep_tokens=keeps)

    async def _from_held(
        self, spec: StateSpec, ref: tuple[str, int | None], key: SessionKey, stack: AsyncExitStack
    ) -> Advance:
        """A request that advances a session, or repeats one that did."""
        lease = await self._lease(key, spec, stack)
        session = await (self._shelf.find(key) if spec.create else self._shelf.read(key))
        if session is not None and was_applied(session.stored, spec.request_id, spec.asked, spec.path):
            return self._repeating(spec, ref, session)
        if lease is None:
            raise SessionBusyError(f"another request is advancing session {key.id!r}", resource=("session", key.id))
        if session is None:
            session = self._created(spec, carrying(self._repository.model(*ref)), key)
        check_position(session.record.position, spec.expected_position)
        check_checkpoint(session.stored, spec, self._settings.checkpoints_max)
        model, start = self._goes_on(session, session.stored.state, ref)
        session.stored.keep_tokens = _keeps(
            model, start, f"{spec.path}state.keep_tokens", wanted=spec.keep_tokens or session.stored.keep_tokens
        )
        return Storing(model, start, spec, self._shelf, lease, session, self._now())

    async def _lease(self, key: SessionKey, spec: StateSpec, stack: AsyncExitStack) -> Lease | None:
        """The lease of a session, in line if the request wants to wait; None: it needs none, for it was applied."""
        while True:
            try:
                return await stack.enter_async_context(self._shelf.hold(key, spec.request_id))
            except SessionBusyError:
                session = await self._shelf.find(key) if spec.request_id else None
                if session is not None and was_applied(session.stored, spec.request_id, spec.asked, spec.path):
                    return None
                if not spec.wait:
                    raise
            await self._shelf.store.wait_free(key)

    def _repeating(self, spec: StateSpec, ref: tuple[str, int | None], session: Session) -> Repeating:
        last = session.stored.last
        check_position(last.before.position, spec.expected_position)
        model, start = self._goes_on(session, with_tokens(session.stored, last.before), ref)
        return Repeating(model, replace(start, seed=last.seed), session, spec)

    def _created(self, spec: StateSpec, model: Model, key: SessionKey) -> Session:
        """A session that is created by its first request's commit."""
        identity = model.servable.id
        record = Record(key, identity.model, identity.digest, 0, self._settings.ttl_default_s, b"")
        state = pack(Start.new(), model.servable, self._now())
        return Session(record, stored_pb2.StoredSession(state=state, create_request_id=spec.request_id))

    def _goes_on(
        self, session: Session, payload: pb.SnapshotPayload, ref: tuple[str, int | None]
    ) -> tuple[Model, Start]:
        """As goes_on, for a state that this server's store has kept."""
        try:
            return goes_on(payload, ref, self._repository, self._settings.on_model_change)
        except SnapshotInvalidError as error:
            raise StoreDataLossError(
                f"what the store keeps of session {session.record.key.id!r} is damaged: {error.message}"
            ) from error


def _keeps(model: Model, start: Start, field: str, *, wanted: bool) -> bool:
    """Whether the tokens are kept.

    Raises: InvalidFieldError if they should be, but the ones before were not, or they are not all that it reads.
    """
    if wanted:
        keeping(model, field)
    if wanted and start.position and not len(start.tokens):
        raise InvalidFieldError(
            f"{field} is set at position {start.position}, but the tokens before were not kept; set it from the "
            "beginning of a sequence on",
            field=field,
        )
    return wanted
