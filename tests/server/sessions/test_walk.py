"""A random walk over sessions beside a dictionary of token lists: at each step, each session is what reading gives."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqserve.server.errors import PositionMismatchError
from seqserve.server.model.sequence_state import SequenceState, TokenCounts
from seqserve.server.sessions import LiveSessions, SessionAdmin, Sessions, StateSpec
from seqserve.server.settings import SessionSettings
from seqserve.server.stores.memory import MemoryStore
from tests.server.sessions.rig import OWNER, Rooms, final_state, into, request, rooms, same, some

NAMES = st.sampled_from(["a", "b", "c"])
MARKS = st.sampled_from(["", "x", "y"])
TOKENS = st.lists(st.integers(0, 9), min_size=1, max_size=4)

STEPS = st.one_of(
    st.tuples(st.just("advance"), NAMES, TOKENS, MARKS),
    st.tuples(st.just("repeat"), NAMES, st.integers(0, 4), st.none()),
    st.tuples(st.just("fail"), NAMES, TOKENS, st.none()),
    st.tuples(st.just("fork"), NAMES, NAMES, MARKS),
    st.tuples(st.just("rewind"), NAMES, MARKS, st.none()),
    st.tuples(st.just("carry"), NAMES, NAMES, MARKS),
    st.tuples(st.just("delete"), NAMES, st.none(), st.none()),
)


@pytest.fixture(scope="module")
def loaded(tasks: Path) -> Iterator[Rooms]:
    with rooms(tasks) as made:
        yield made


@dataclass
class Expected:
    """What a session has to be: its tokens, its checkpoints by their lengths, its requests and where they began."""

    tokens: list[int] = field(default_factory=list[int])
    marks: dict[str, int] = field(default_factory=dict[str, int])
    applied: list[tuple[str, int, list[int]]] = field(default_factory=list[tuple[str, int, list[int]]])
    rewound: bool = False


def reading(at: Rooms, ref: tuple[str, int | None], tokens: list[int]) -> SequenceState:
    """Returns the state after a sequence of these tokens, processed in one piece."""
    if not tokens:
        return SequenceState.new()
    model = at.repository.model(*ref)
    end = final_state(model, SequenceState.new(), some(*tokens))
    counts = TokenCounts() if end.last_token is None else TokenCounts().plus(some(*tokens), some())
    return SequenceState(end.state, end.position, end.last_token, counts, tokens=some(*tokens), sentence=end.sentence)


async def walk(at: Rooms, ref: tuple[str, int | None], steps: list[tuple[str, str, object, object]]) -> None:
    existing: dict[str, Expected] = {}
    ids = (f"r{number}" for number in itertools.count())
    for kind, name, first, second in steps:
        known = existing.get(name)
        if kind == "advance":
            assert isinstance(first, list)
            known = existing.setdefault(name, Expected())
            request_id, mark = next(ids), str(second)
            spec = into(name, request_id=request_id, checkpoint=mark, keep_tokens=True)
            result = await request(at, replace(spec, expected_position=len(known.tokens)), *first, ref=ref)
            known.applied.append((request_id, len(known.tokens), first))
            known.tokens = known.tokens + first
            known.rewound = False
            if mark:
                known.marks.pop(mark, None)
                known.marks[mark] = len(known.tokens)
            assert (result.position, result.already_applied) == (len(known.tokens), False)
        elif kind == "fail":
            with pytest.raises(TimeoutError):
                async with at.sessions.begin(into(name), ref, OWNER):
                    raise TimeoutError
        elif known is None:
            continue
        elif kind == "repeat" and known.applied:
            assert isinstance(first, int)
            index = max(-1 - first, -len(known.applied))
            request_id, position, tokens = known.applied[index]
            spec = into(name, request_id=request_id, expected_position=position)
            if index == -1 and not known.rewound:
                assert (await request(at, spec, *tokens, ref=ref)).already_applied
            else:
                with pytest.raises(PositionMismatchError):
                    await request(at, spec, *tokens, ref=ref)
        elif kind == "fork" and first not in existing and (not second or second in known.marks):
            end = known.marks[str(second)] if second else len(known.tokens)
            await at.admin.fork(OWNER, name, str(first), str(second), None, None, "")
            marks = list(known.marks.items())
            if second:
                marks = marks[: [mark for mark, _ in marks].index(str(second)) + 1]
            existing[str(first)] = Expected(known.tokens[:end], dict(marks))
        elif kind == "rewind" and first in known.marks:
            await at.admin.rewind(OWNER, name, str(first), None, next(ids))
            marks = list(known.marks.items())
            known.marks = dict(marks[: [mark for mark, _ in marks].index(str(first)) + 1])
            known.tokens = known.tokens[: known.marks[str(first)]]
            known.rewound = True
        elif kind == "carry" and first not in existing and (not second or second in known.marks):
            snapshot, _ = await at.admin.export(OWNER, name, str(second))
            await at.admin.import_(OWNER, str(first), snapshot, None, "")
            end = known.marks[str(second)] if second else len(known.tokens)
            existing[str(first)] = Expected(known.tokens[:end])
        elif kind == "delete":
            await at.admin.delete(OWNER, name)
            del existing[name]
        sessions, _ = await at.admin.list(OWNER, "", "", 10)
        assert [session.record.key.id for session in sessions] == sorted(existing)
        for session in sessions:
            wanted = existing[session.record.key.id]
            assert {kept.name: kept.state.position for kept in session.stored.checkpoints} == wanted.marks
            async with at.sessions.begin(StateSpec(session_id=session.record.key.id), ref, OWNER) as transaction:
                assert same(transaction.initial, reading(at, ref, wanted.tokens))


@pytest.mark.parametrize("name", ["lstm", "tagger", "chain", "classifier"])
@settings(max_examples=30)
@given(steps=st.lists(STEPS, max_size=15))
def test_every_session_is_at_every_moment_what_reading_its_tokens_gives(
    loaded: Rooms, name: str, steps: list[tuple[str, str, object, object]]
) -> None:
    given_ = SessionSettings()
    store = MemoryStore(count_max=100, bytes_max=1 << 20, when_full="refuse", grace_s=10.0, now=loaded.clock)
    live_sessions = LiveSessions(store)
    at = replace(
        loaded,
        store=store,
        live_sessions=live_sessions,
        sessions=Sessions(loaded.repository, live_sessions, given_, loaded.clock),
        admin=SessionAdmin(loaded.repository, live_sessions, given_, loaded.clock),
    )
    asyncio.run(walk(at, (name, None), steps))
