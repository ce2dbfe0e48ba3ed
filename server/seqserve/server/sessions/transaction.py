"""A request that carries state: where it begins, and the commit of what it leaves."""

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
    """One request between its start and its commit; this one's state goes nowhere."""

    wants_state: ClassVar[bool] = False  # whether FinalState.state is needed; if not, it may be None
    already_applied: ClassVar[bool] = False  # the request is repeated; its end changes nothing
    keeps_tokens = False  # whether FinalState.prompt_tokens is needed of a model that is no language model

    def __init__(self, model: Model, initial: SequenceState) -> None:
        """Args: model: the version that runs it; it stays loaded until the end."""
        self.model = model
        self.initial = initial

    async def commit(self, final_state: FinalState) -> StateResult:
        """Put the state where the request wants it; call it before the last message is written, for every request.

        Without it (an error, a cancel, a deadline) a session stays as it was.
        Raises: LeaseLostError if another took the session over; SessionNotFoundError if it was deleted meanwhile;
            StoreFullError, StoreUnavailableError.
        """
        return StateResult(final_state.position)


class RepeatedTransaction(StateTransaction):
    """A request that was applied before: it is answered again, from where it began then."""

    already_applied = True

    def __init__(self, model: Model, initial: SequenceState, session: Session, spec: StateSpec) -> None:
        super().__init__(model, initial)
        self._record = session.record
        self._path = spec.path

    async def commit(self, final_state: FinalState) -> StateResult:
        """Tell where the session is; the state was applied the first time.

        Raises: InvalidFieldError for another request by the same id: what generates nothing ends where its input does.
        """
        record = self._record
        if final_state.position != record.position and not len(final_state.generated_tokens):
            raise InvalidFieldError(
                f"the session's last request by this {self._path}request_id ended at position {record.position}, this "
                f"one at {final_state.position}; give each request an id of its own",
                field=f"{self._path}request_id",
            )
        return StateResult(record.position, record.key.id, record.expires_s, already_applied=True)


class SnapshotTransaction(StateTransaction):
    """The state goes into the answer."""

    wants_state = True

    def __init__(
        self, model: Model, initial: SequenceState, key: bytes | None, now_s: float, *, keep_tokens: bool
    ) -> None:
        """Args: key: signs the snapshot. now_s: unix time."""
        super().__init__(model, initial)
        self._key = key
        self._now_s = now_s
        self.keeps_tokens = keep_tokens

    async def commit(self, final_state: FinalState) -> StateResult:
        """Make the snapshot."""
        after = next_state(self.initial, final_state, keep_tokens=self.keeps_tokens)
        return StateResult(
            final_state.position, snapshot=seal(pack(after, self.model.servable, self._now_s), self._key)
        )


class SessionTransaction(StateTransaction):
    """The state goes into a session, which the request holds."""

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
        """Args: session: as it was read; to be created if its record has no time of creation. now_s: unix time."""
        super().__init__(model, initial)
        self._spec = spec
        self._live_sessions = live_sessions
        self._lease = lease
        self._session = session
        self._now_s = now_s
        self.keeps_tokens = session.stored.keep_tokens

    async def commit(self, final_state: FinalState) -> StateResult:
        """Write the session, or create it."""
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
                    f"another request has created session {record.key.id!r} meanwhile; try again, and it is found",
                    resource=("session", record.key.id),
                )
            self._live_sessions.counts.created += 1
        # Before the answer's end is told: a server that is killed after it must not keep the session from its caller.
        await self._live_sessions.release(self._lease)
        return StateResult(kept.position, kept.key.id, kept.expires_s)


def next_state(initial: SequenceState, final_state: FinalState, *, keep_tokens: bool) -> SequenceState:
    """Where the sequence goes on after a request. Raises: ValueError if the ending does not fit the start."""
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
