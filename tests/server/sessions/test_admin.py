"""The operations on sessions: what each does, and that doing it twice is doing it once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seqserve.server.errors import (
    CheckpointNotFoundError,
    InvalidFieldError,
    PositionMismatchError,
    ServableMismatchError,
    SessionBusyError,
    SessionExistsError,
    SessionNotFoundError,
    SnapshotInvalidError,
    StoreDataLossError,
    StoreFullError,
)
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.sessions import Session, StateSpec
from seqserve.server.stores import SessionKey
from tests.server.sessions.rig import LSTM, OWNER, Rooms, commit, into, request, rooms, same

OTHER = "somebody else"


async def create(at: Rooms, id_: str = "one", owner: str = OWNER, **given: Any) -> Session:
    values = {"ref": LSTM, "ttl_s": None, "request_id": "", "keep_tokens": False} | given
    return await at.admin.create(owner, id_, **values)


async def fork(at: Rooms, new_id: str = "two", id_: str = "one", owner: str = OWNER, **given: Any) -> Session:
    values = {"checkpoint": "", "expected_position": None, "ttl_s": None, "request_id": ""} | given
    return await at.admin.fork(owner, id_, new_id, **values)


async def rewind(at: Rooms, checkpoint: str, **given: Any) -> Session:
    return await at.admin.rewind(OWNER, "one", checkpoint, **({"expected_position": None, "request_id": ""} | given))


async def start_of(at: Rooms, id_: str, owner: str = OWNER) -> SequenceState:
    async with at.sessions.begin(StateSpec(session_id=id_), LSTM, owner) as transaction:
        return transaction.initial


async def test_a_created_session_is_at_the_beginning(at: Rooms) -> None:
    session = await create(at, ttl_s=5.0, keep_tokens=True)
    record = session.record
    assert (record.position, record.ttl_s, record.expires_s) == (0, 5.0, at.clock() + 5)
    assert (record.model, record.digest) == ("lstm", at.repository.model("lstm", None).servable.id.digest)
    assert same(await start_of(at, "one"), SequenceState.new())
    with pytest.raises(SessionExistsError):
        await create(at)
    assert (await request(at, into(create=False), 1, 2)).position == 2
    assert (await start_of(at, "one")).tokens.tolist() == [1, 2]


async def test_drawn_ids_cannot_be_guessed(at: Rooms) -> None:
    ids = {(await create(at, "")).record.key.id for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{24}", id_) for id_ in ids)


@pytest.mark.parametrize("id_", ["", "one"])
async def test_a_request_that_creates_can_be_repeated_and_only_that_one(at: Rooms, id_: str) -> None:
    first = await create(at, id_, request_id="a")
    await request(at, into(first.record.key.id), 1)
    again = await create(at, id_, request_id="a")
    assert (again.record.key, again.record.position) == (first.record.key, 1)
    assert at.sessions.counts.created == 1
    if id_:
        with pytest.raises(SessionExistsError):
            await create(at, id_, request_id="b")
    else:
        assert (await create(at, id_, request_id="b")).record.key != first.record.key


async def test_forks_go_on_as_the_original_would_have(at: Rooms) -> None:
    await request(at, into(checkpoint="early", keep_tokens=True), 1, 2)
    await request(at, into(checkpoint="late"), 3, 4)
    await fork(at, "now")
    await fork(at, "then", checkpoint="early")
    for tokens, names in (((5, 6), ("one", "now")), ((3, 4), ("then",))):
        for name in names:
            await request(at, into(name), *tokens)
    assert same(await start_of(at, "one"), await start_of(at, "now"))
    await request(at, into("then"), 5, 6)
    assert same(await start_of(at, "one"), await start_of(at, "then"))
    kept = {name: [c.name for c in (await at.admin.get(OWNER, name)).stored.checkpoints] for name in ("now", "then")}
    assert kept == {"now": ["early", "late"], "then": ["early"]}


async def test_a_fork_can_be_repeated_though_the_original_has_gone_on(at: Rooms) -> None:
    await request(at, into(), 1)
    first = await fork(at, "", request_id="a", expected_position=1)
    await request(at, into(), 2)
    again = await fork(at, "", request_id="a", expected_position=1)
    assert again.record == first.record
    assert at.sessions.counts.forked == 1
    with pytest.raises(PositionMismatchError):
        await fork(at, "", request_id="b", expected_position=1)
    with pytest.raises(SessionExistsError):
        await fork(at, first.record.key.id)


async def test_a_fork_forgets_which_requests_the_original_had(at: Rooms) -> None:
    await request(at, into(request_id="a"), 1)
    await fork(at)
    assert not (await request(at, into("two", request_id="a"), 1)).already_applied


async def test_a_rewound_session_is_where_its_checkpoint_was_and_keeps_the_earlier_ones(at: Rooms) -> None:
    await request(at, into(checkpoint="a", keep_tokens=True), 1, 2)
    existing = await start_of(at, "one")
    await request(at, into(checkpoint="b"), 3)
    await request(at, into(), 4)
    session = await rewind(at, "a", expected_position=4)
    assert session.record.position == 2
    assert [kept.name for kept in session.stored.checkpoints] == ["a"]
    assert same(await start_of(at, "one"), existing)
    with pytest.raises(CheckpointNotFoundError, match="has no checkpoint 'b'; available: a"):
        await rewind(at, "b")


async def test_a_rewind_can_be_repeated_and_nothing_else_can_go_by_its_id(at: Rooms) -> None:
    await request(at, into(checkpoint="a", request_id="first"), 1, 2)
    await request(at, into(), 3)
    for _ in range(2):
        assert (await rewind(at, "a", expected_position=3, request_id="r")).record.position == 2
    with pytest.raises(InvalidFieldError, match="had different content"):
        await request(at, into(request_id="r"), 1)
    with pytest.raises(InvalidFieldError, match="had different content"):
        await rewind(at, "b", request_id="r")
    await request(at, into(), 3)
    with pytest.raises(PositionMismatchError):
        await rewind(at, "a", request_id="r")


async def test_a_session_that_advances_cannot_be_rewound(at: Rooms) -> None:
    await request(at, into(checkpoint="a"), 1)
    async with at.sessions.begin(into(), LSTM, OWNER) as transaction:
        assert (await at.admin.get(OWNER, "one")).busy
        with pytest.raises(SessionBusyError):
            await rewind(at, "a")
        await commit(transaction, 2)
    assert not (await at.admin.get(OWNER, "one")).busy
    with pytest.raises(PositionMismatchError):
        await rewind(at, "a", expected_position=1)


async def test_an_export_is_imported_as_it_was_and_by_another_owner_too(at: Rooms) -> None:
    await request(at, into(checkpoint="a", keep_tokens=True), 1, 2)
    await request(at, into(), 3)
    snapshot, session = await at.admin.export(OWNER, "one", "")
    assert session.record.position == 3
    imported = await at.admin.import_(OTHER, "mine", snapshot, None, "")
    assert (imported.record.position, imported.stored.keep_tokens) == (3, True)
    assert same(await start_of(at, "mine", OTHER), await start_of(at, "one"))
    early, _ = await at.admin.export(OWNER, "one", "a")
    back = await at.admin.import_(OWNER, "", early, None, "r")
    assert (await at.admin.import_(OWNER, "", early, None, "r")).record == back.record
    assert at.sessions.counts.restored == 2
    await rewind(at, "a")
    assert same(await start_of(at, back.record.key.id), await start_of(at, "one"))
    with pytest.raises(CheckpointNotFoundError):
        await at.admin.export(OWNER, "one", "b")


async def test_the_beginning_can_be_exported_and_imported(at: Rooms) -> None:
    await create(at)
    snapshot, _ = await at.admin.export(OWNER, "one", "")
    imported = await at.admin.import_(OWNER, "two", snapshot, None, "")
    assert imported.record.position == 0


async def test_an_import_is_held_against_what_is_loaded_here(at: Rooms, models: Path, tmp_path: Path) -> None:
    await request(at, into(), 1)
    snapshot, _ = await at.admin.export(OWNER, "one", "")
    (tmp_path / "gru").symlink_to(models / "gru")
    with rooms(tmp_path) as elsewhere:
        with pytest.raises(ServableMismatchError, match=r"belongs to lstm/1 .*, which is not loaded"):
            await elsewhere.admin.import_(OWNER, "one", snapshot, None, "")
        with pytest.raises(SnapshotInvalidError):
            await elsewhere.admin.import_(OWNER, "one", snapshot[:-1], None, "")
        assert (await elsewhere.store.usage()).sessions == 0


async def test_with_a_key_only_its_own_snapshots_come_back(models: Path, at: Rooms) -> None:
    await request(at, into(), 1)
    unsigned, _ = await at.admin.export(OWNER, "one", "")
    with rooms(models, snapshot_key="a secret") as keyed:
        with pytest.raises(SnapshotInvalidError, match="is not signed"):
            await keyed.admin.import_(OWNER, "one", unsigned, None, "")
        with pytest.raises(SnapshotInvalidError, match="is not signed"):
            await request(keyed, StateSpec(snapshot=unsigned), 1)
        await request(keyed, into(), 1)
        signed, _ = await keyed.admin.export(OWNER, "one", "")
        assert (await keyed.admin.import_(OWNER, "two", signed, None, "")).record.position == 1
    assert (await at.admin.import_(OWNER, "two", signed, None, "")).record.position == 1


async def test_pages_together_are_all_of_an_owners_sessions(at: Rooms) -> None:
    for number in range(7):
        await create(at, f"s{number}", ref=("gru" if number % 2 else "lstm", None))
        await create(at, f"t{number}", OTHER)
    for model, wanted in (("", range(7)), ("gru", (1, 3, 5)), ("none", ())):
        ids, after, more = list[str](), "", "more"
        while more:
            sessions, more = await at.admin.list(OWNER, model, after, 2)
            ids += [session.record.key.id for session in sessions]
            after = more
        assert ids == [f"s{number}" for number in wanted]


async def test_damaged_sessions_are_left_out_of_a_list_and_can_be_deleted(at: Rooms) -> None:
    sound = await create(at, "c")
    for id_ in ("a", "b", "d", "e"):
        await at.store.create(replace(sound.record, key=SessionKey(OWNER, id_), body=b"\xff no message"))
    ids, after, pages = list[str](), "", 0
    while pages == 0 or after:
        sessions, after = await at.admin.list(OWNER, "", after, 2)
        ids += [session.record.key.id for session in sessions]
        pages += 1
    assert (ids, pages) == (["c"], 3)
    with pytest.raises(StoreDataLossError, match="delete the session"):
        await at.admin.get(OWNER, "a")
    await at.admin.delete(OWNER, "a")
    with pytest.raises(SessionNotFoundError):
        await at.admin.get(OWNER, "a")


async def test_a_deleted_session_is_gone(at: Rooms) -> None:
    await create(at)
    await at.admin.delete(OWNER, "one")
    for removed in (at.admin.get(OWNER, "one"), at.admin.delete(OWNER, "one"), at.admin.touch(OWNER, "one", None)):
        with pytest.raises(SessionNotFoundError):
            await removed


async def test_a_full_store_says_when_to_try_again(models: Path) -> None:
    with rooms(models, count_max=1) as at:
        await create(at)
        with pytest.raises(StoreFullError) as caught:
            await create(at, "two")
        assert caught.value.retry_after_s
        await request(at, into(), 1)
        with pytest.raises(StoreFullError):
            await request(at, into("two"), 1)
