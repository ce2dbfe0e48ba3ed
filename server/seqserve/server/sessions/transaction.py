"""A request that carries state: where it begins, and the commit of what it leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from seqserve.server.errors import InvalidFieldError, LeaseLostError
from seqserve.server.model.sequence_state import Ending, Start
from seqserve.server.repository import Model
from seqserve.server.sessions.live_sessions import Shelf
from seqserve.server.sessions.session_record import Session, apply
from seqserve.server.sessions.snapshot import pack, seal
from seqserve.server.sessions.spec import StateResult, StateSpec
from seqserve.server.stores import Lease


class Advance:
    """One request between its start and its commit; this one's state goes nowhere."""

    wants_state: ClassVar[bool] = False  # whether Ending.state is needed; if not, it may be None
    already_applied: ClassVar[bool] = False  # the request is repeated; its end changes nothing
    keeps_tokens = False  # whether Ending.prompt_tokens is needed of a model that is no language model

    def __init__(self, model: Model, start: Start) -> None:
        """Args: model: the version that runs it; it stays loaded until the end."""
        self.model = model
        self.start = start

    async def commit(self, ending: Ending) -> StateResult:
        """Put the state where the request wants it; call it before the last message is written, for every request.

        Without it (an error, a cancel, a deadline) a session stays as it was.
        Raises: LeaseLostError if another took the session over; SessionNotFoundError if it was deleted meanwhile;
            StoreFullError, StoreUnavailableError.
        """
        return StateResult(ending.position)


class Repeating(Advance):
    """A request that was applied before: it is answered again, from where it began then."""

    already_applied = True

    def __init__(self, model: Model, start: Start, session: Session, spec: StateSpec) -> None:
        super().__init__(model, start)
        self._record = session.record
        self._path = spec.path

    async def commit(self, ending: Ending) -> StateResult:
        """Tell where the session is; the state was applied the first time.

        Raises: InvalidFieldError for another request by the same id: what generates nothing ends where its input does.
        """
        record = self._record
        if ending.position != record.position and not len(ending.generated_tokens):
            raise InvalidFieldError(
                f"the session's last request by this {self._path}request_id ended at position {record.position}, this "
                f"one at {ending.position}; give each request an id of its own",
                field=f"{self._path}request_id",
            )
        return StateResult(record.position, record.key.id, record.expires_s, already_applied=True)


class Sealing(Advance):
    """The state goes into the answer."""

    wants_state = True

    def __init__(self, model: Model, start: Start, key: bytes | None, now_s: float, *, keep_tokens: bool) -> None:
        """Args: key: signs the snapshot. now_s: unix time."""
        super().__init__(model, start)
        self._key = key
        self._now_s = now_s
        self.keeps_tokens = keep_tokens

    async def commit(self, ending: Ending) -> StateResult:
        """Make the snapshot."""
        after = following(self.start, ending, keep_tokens=self.keeps_tokens)
        return StateResult(ending.position, snapshot=seal(pack(after, self.model.servable, self._now_s), self._key))


class Storing(Advance):
    """The state goes into a session, which the request holds."""

    wants_state = True

    def __init__(
        self, model: Model, start: Start, spec: StateSpec, shelf: Shelf, lease: Lease, session: Session, now_s: float
    ) -> None:
        """Args: session: as it was read; to be created if its record has no time of creation. now_s: unix time."""
        super().__init__(model, start)
        self._spec = spec
        self._shelf = shelf
        self._lease = lease
        self._session = session
        self._now_s = now_s
        self.keeps_tokens = session.stored.keep_tokens

    async def commit(self, ending: Ending) -> StateResult:
        """Write the session, or create it."""
        spec, stored, record = self._spec, self._session.stored, self._session.record
        after = following(self.start, ending, keep_tokens=self.keeps_tokens)
        apply(stored, pack(after, self.model.servable, self._now_s), spec, ending.seed)
        identity = self.model.servable.id
        record = replace(
            record,
            model=identity.model,
            digest=identity.digest,
            position=ending.position,
            ttl_s=record.ttl_s if spec.ttl_s is None else spec.ttl_s,
            body=stored.SerializeToString(),
        )
        if record.created_s:
            kept = await self._shelf.store.write(record, self._lease, spec.ttl_s)
        else:
            kept, created = await self._shelf.store.create(record)
            if not created:
                raise LeaseLostError(
                    f"another request has created session {record.key.id!r} meanwhile; try again, and it is found",
                    resource=("session", record.key.id),
                )
            self._shelf.counts.created += 1
        # Before the answer's end is told: a server that is killed after it must not keep the session from its caller.
        await self._shelf.give_back(self._lease)
        return StateResult(kept.position, kept.key.id, kept.expires_s)


def following(start: Start, ending: Ending, *, keep_tokens: bool) -> Start:
    """Where the sequence goes on after a request. Raises: ValueError if the ending does not fit the start."""
    if not ending.position:
        return Start.new()
    read, made, trails = ending.prompt_tokens, ending.generated_tokens, ending.last_token is not None
    counted = (trails and ending.counts is None) or keep_tokens
    if ending.state is None or (counted and ending.position != start.position + len(read) + len(made)):
        raise ValueError(
            f"a request from position {start.position} with {len(read)} + {len(made)} tokens ended at {ending.position}"
        )
    return Start(
        state=ending.state,
        position=ending.position,
        last_token=ending.last_token,
        counts=ending.counts or (start.counts.plus(read, made) if trails else start.counts),
        undecoded=ending.undecoded,
        tokens=np.concatenate([start.tokens, read, made]) if keep_tokens else start.tokens[:0],
        sentence=ending.sentence,
    )
