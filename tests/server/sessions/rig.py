"""Sessions without a wire: real models and a real store on a clock to turn by hand; requests read tokens, no engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqserve.server.model.inputs import IntArray, token_inputs
from seqserve.server.model.sequence_state import Sentence, SequenceState
from seqserve.server.repository import Model, Repository
from seqserve.server.sessions import (
    FinalState,
    LiveSessions,
    SessionAdmin,
    SessionMaintenance,
    Sessions,
    StateResult,
    StateSpec,
    StateTransaction,
)
from seqserve.server.sessions.spec import Destination
from seqserve.server.settings import ServerSettings, SessionSettings
from seqserve.server.stores.memory import MemoryStore
from seqserve.server.testing import ManualClock
from seqserve.v1 import manifest_pb2 as pb

OWNER = "me"
LSTM: tuple[str, int | None] = ("lstm", None)
GRACE_S = 100.0


@dataclass(frozen=True)
class Rooms:
    """All rooms that a session passes."""

    repository: Repository
    store: MemoryStore
    live_sessions: LiveSessions
    sessions: Sessions
    admin: SessionAdmin
    maintenance: SessionMaintenance
    clock: ManualClock


@contextmanager
def rooms(root: Path, **settings: Any) -> Iterator[Rooms]:
    """Rooms over the models of a folder. Args: settings: of SessionSettings."""
    clock = ManualClock()
    clock.now_s = 1e9
    given = SessionSettings(**settings)
    repository = Repository(ServerSettings(models=root), _nowhere)
    store = MemoryStore(
        count_max=given.count_max, bytes_max=given.bytes_max, when_full=given.when_full, grace_s=GRACE_S, now=clock
    )
    live_sessions = LiveSessions(store)
    try:
        repository.load()
        yield Rooms(
            repository,
            store,
            live_sessions,
            Sessions(repository, live_sessions, given, clock),
            SessionAdmin(repository, live_sessions, given, clock),
            SessionMaintenance(repository, live_sessions, given),
            clock,
        )
    finally:
        repository.close()


def _nowhere(published: object) -> None:
    """No one asks the engines for anything."""


def into(session_id: str = "one", **given: Any) -> StateSpec:
    """What a request says that advances a session, and creates it."""
    usual: dict[str, Any] = {"session_id": session_id, "destination": Destination.SESSION, "create": True}
    return StateSpec(**(usual | given))


def some(*tokens: int) -> IntArray:
    """Token ids."""
    return np.array(tokens, np.int32)


def final_state(
    model: Model, start: SequenceState, read: IntArray, generated: IntArray | None = None, seed: int = 0
) -> FinalState:
    """What a request leaves that read these tokens and generated those.

    A tagger with a CRF always decides for the label after the last token's id.
    """
    made = some() if generated is None else generated
    fed = np.concatenate([start.pending, read, made])
    trails = model.manifest.task == pb.TASK_LANGUAGE_MODEL
    consumed = fed[:-1] if trails else fed
    state = model.servable.initial_state() if start.state is None else start.state
    if len(consumed):
        _, state = model.servable.run([token_inputs(consumed)], state)
    position, last = start.position + len(read) + len(made), int(fed[-1])
    label = (last + 1) % len(model.manifest.labels.names) if model.manifest.network.crf else None
    sentence = Sentence(start.sentence.position, label)
    return FinalState(state, position, last if trails else None, read, made, seed=seed, sentence=sentence)


async def commit(transaction: StateTransaction, *read: int, seed: int = 0) -> StateResult:
    """Let a request read these tokens and end."""
    return await transaction.commit(final_state(transaction.model, transaction.initial, some(*read), seed=seed))


async def request(
    at: Rooms, spec: StateSpec | None, *read: int, ref: tuple[str, int | None] = LSTM, **given: Any
) -> StateResult:
    """One whole request."""
    async with at.sessions.begin(spec, ref, given.get("owner", OWNER)) as transaction:
        return await commit(transaction, *read, seed=given.get("seed", 0))


def same(one: SequenceState, other: SequenceState) -> bool:
    """Whether two starts are the same to the last bit."""
    states = [start.state or () for start in (one, other)]
    return (
        len(states[0]) == len(states[1])
        and all(np.array_equal(a, b) for a, b in zip(*states, strict=True))
        and (one.position, one.last_token, one.undecoded) == (other.position, other.last_token, other.undecoded)
        and one.sentence == other.sentence
        and all(
            np.array_equal(a, b)
            for a, b in (
                (one.counts.ids, other.counts.ids),
                (one.counts.prompt, other.counts.prompt),
                (one.counts.generated, other.counts.generated),
                (one.tokens, other.tokens),
            )
        )
    )
