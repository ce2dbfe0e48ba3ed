"""Transactions: the initial state of a request, and the commit of its final state."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from seqserve.server.errors import InvalidFieldError, LeaseLostError
from seqserve.server.model.sequence_state import FinalState, SequenceState
from seqserve.server.repository import Model
from seqserve.server.sessions.live_sessions import LiveSessions
from seqserve.server.sessions.session_record import Session, apply
from seqserve.server.sessions.snapshot import pack, seal
from seqserve.server.sessions.spec import StateResult, StateSpec
from seqserve.server.stores import Lease


class StateTransaction:
    """A request between its beginning and its commit. The final state of this one is discarded.

    Attributes:
        model: The version that runs the request.
        initial: The state that the request continues.
        wants_state: Whether FinalState.state is needed. If not, it may be None.
        already_applied: The request repeats one that was applied, so its commit changes nothing.
        keeps_tokens: Whether FinalState.prompt_tokens is needed of a model that is not a language model.
    """

    wants_state: ClassVar[bool] = False
    already_applied: ClassVar[bool] = False
    keeps_tokens = False

    def __init__(self, model: Model, initial: SequenceState) -> None:
        """Stores the arguments.

        Args:
            model: The version that runs the request. It stays loaded until the transaction ends.
            initial: The state that the request continues.
        """
        self.model = model
        self.initial = initial

    async def commit(self, final_state: FinalState) -> StateResult:
        """Stores the final state where the request wants it. Every request commits before its last message is written.

        Without a commit (an error, a cancellation, a deadline) a session stays unchanged.

        Raises:
            LeaseLostError: Another request took the session over.
            SessionNotFoundError: The session was deleted meanwhile.
            StoreFullError: The store has no room.
            StoreUnavailableError: The store failed.
        """
        return StateResult(final_state.position)


class RepeatedTransaction(StateTransaction):
    """A request that was applied before. It runs again from the same state, so that the answer is the same."""

    already_applied = True

    def __init__(self, model: Model, initial: SequenceState, session: Session, spec: StateSpec) -> None:
        super().__init__(model, initial)
        self._record = session.record
        self._path = spec.path

    async def commit(self, final_state: FinalState) -> StateResult:
        """Returns where the session is. The state was applied the first time.

        Raises:
            InvalidFieldError: Another request has the same id: it generates nothing, so its input decides where it
                ends.
        """
        record = self._record
        if final_state.position != record.position and not len(final_state.generated_tokens):
            raise InvalidFieldError(
                f"the session's last request with this {self._path}request_id ended at position {record.position}, "
                f"this one at {final_state.position}; use a unique id for each request",
                field=f"{self._path}request_id",
            )
        return StateResult(record.position, record.key.id, record.expires_s, already_applied=True)


class SnapshotTransaction(StateTransaction):
    """A request whose final state is returned as a snapshot."""

    wants_state = True

    def __init__(
        self, model: Model, initial: SequenceState, key: bytes | None, now_s: float, *, keep_tokens: bool
    ) -> None:
        """Stores the arguments.

        Args:
            model: The version that runs the request.
            initial: The state that the request continues.
            key: Signs the snapshot. None: it is not signed.
            now_s: Unix time in seconds.
            keep_tokens: Whether the snapshot contains all tokens.
        """
        super().__init__(model, initial)
        self._key = key
        self._now_s = now_s
        self.keeps_tokens = keep_tokens

    async def commit(self, final_state: FinalState) -> StateResult:
        """Returns the snapshot."""
        after = next_state(self.initial, final_state, keep_tokens=self.keeps_tokens)
        return StateResult(
            final_state.position, snapshot=seal(pack(after, self.model.servable, self._now_s), self._key)
        )


class SessionTransaction(StateTransaction):
    """A request whose final state is stored in a session, whose lease it holds."""

    wants_state = True

    def __init__(
        self,
        model: Model,
        initial: SequenceState,
        spec: StateSpec,
        live_sessions: LiveSessions,
        lease: Lease,
        session: Session,
        now_s: float,
    ) -> None:
        """Stores the arguments.

        Args:
            model: The version that runs the request.
            initial: The state that the request continues.
            spec: What the request says about its state.
            live_sessions: The store.
            lease: The lease of the session.
            session: As it was read. It is created if its record has no time of creation.
            now_s: Unix time in seconds.
        """
        super().__init__(model, initial)
        self._spec = spec
        self._live_sessions = live_sessions
        self._lease = lease
        self._session = session
        self._now_s = now_s
        self.keeps_tokens = session.stored.keep_tokens

    async def commit(self, final_state: FinalState) -> StateResult:
        """Writes or creates the session."""
        spec, stored, record = self._spec, self._session.stored, self._session.record
        after = next_state(self.initial, final_state, keep_tokens=self.keeps_tokens)
        apply(stored, pack(after, self.model.servable, self._now_s), spec, final_state.seed)
        identity = self.model.servable.id
        record = replace(
            record,
            model=identity.model,
            digest=identity.digest,
            position=final_state.position,
            ttl_s=record.ttl_s if spec.ttl_s is None else spec.ttl_s,
            body=stored.SerializeToString(),
        )
        if record.created_s:
            kept = await self._live_sessions.store.write(record, self._lease, spec.ttl_s)
        else:
            kept, created = await self._live_sessions.store.create(record)
            if not created:
                raise LeaseLostError(
                    f"another request has created session {record.key.id!r} meanwhile; retry to continue it",
                    resource=("session", record.key.id),
                )
            self._live_sessions.counts.created += 1
        # Before the last message is sent: a server that is killed after it must not keep the session locked.
        await self._live_sessions.release(self._lease)
        return StateResult(kept.position, kept.key.id, kept.expires_s)


def next_state(initial: SequenceState, final_state: FinalState, *, keep_tokens: bool) -> SequenceState:
    """Returns the state that the next request continues. Raises: ValueError if the two states do not fit."""
    if not final_state.position:
        return SequenceState.new()
    read, made, trails = final_state.prompt_tokens, final_state.generated_tokens, final_state.last_token is not None
    counted = (trails and final_state.counts is None) or keep_tokens
    if final_state.state is None or (counted and final_state.position != initial.position + len(read) + len(made)):
        raise ValueError(
            f"a request from position {initial.position} with {len(read)} + {len(made)} tokens ended at "
            f"{final_state.position}"
        )
    return SequenceState(
        state=final_state.state,
        position=final_state.position,
        last_token=final_state.last_token,
        counts=final_state.counts or (initial.counts.plus(read, made) if trails else initial.counts),
        undecoded=final_state.undecoded,
        tokens=np.concatenate([initial.tokens, read, made]) if keep_tokens else initial.tokens[:0],
        sentence=final_state.sentence,
    )
