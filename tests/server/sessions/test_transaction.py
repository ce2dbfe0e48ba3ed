"""What a request with state relies on: fences, repeats, who may advance, where the state goes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from seqserve.server.errors import (
    InvalidFieldError,
    LeaseLostError,
    PositionMismatchError,
    ServeError,
    SessionBusyError,
    SessionExpiredError,
    SessionNotFoundError,
    SnapshotInvalidError,
)
from seqserve.server.sessions import Destination, StateSpec
from seqserve.server.stores import SessionKey
from tests.server.sessions.rig import GRACE_S, LSTM, OWNER, Rooms, commit, into, request, rooms, same


async def test_a_session_goes_on_where_it_was(at: Rooms) -> None:
    await request(at, into(), 1, 2, 3)
    result = await request(at, into(create=False, expected_position=3), 4, 5)
    assert (result.position, result.session_id, result.already_applied) == (5, "one", False)
    assert result.expires_s == at.clock() + 3600
    await request(at, into("whole"), 1, 2, 3, 4, 5)
    starts = []
    for name in ("one", "whole"):
        async with at.sessions.begin(into(name), LSTM, OWNER) as transaction:
            starts.append(transaction.initial)
    assert same(*starts)
    assert starts[0].counts.prompt.tolist() == [1, 1, 1, 1, 1]


async def test_without_a_commit_a_session_stays_as_it_was(at: Rooms) -> None:
    await request(at, into(), 1, 2, 3)
    before = (await at.admin.get(OWNER, "one")).record
    with pytest.raises(RuntimeError):
        async with at.sessions.begin(into(), LSTM, OWNER):
            raise RuntimeError("the engine failed")
    assert (await at.admin.get(OWNER, "one")).record == before
    await request(at, into(), 4)  # and it is free again


async def test_a_session_that_is_not_there_is_created_only_if_asked_and_only_at_the_end(at: Rooms) -> None:
    with pytest.raises(SessionNotFoundError):
        await request(at, into(create=False), 1)
    with pytest.raises(RuntimeError):
        async with at.sessions.begin(into(), LSTM, OWNER):
            raise RuntimeError("the engine failed")
    assert (await at.store.usage()).sessions == 0
    assert (await request(at, into(expected_position=0, ttl_s=7.0), 1)).expires_s == at.clock() + 7


@pytest.mark.parametrize("position", [0, 2, 4, 1 << 40])
async def test_a_position_that_is_not_the_sessions_is_refused_with_both(at: Rooms, position: int) -> None:
    await request(at, into(), 1, 2, 3)
    with pytest.raises(
        PositionMismatchError, match=f"expected_position is {position}, but the state is at position 3"
    ) as caught:
        await request(at, into(expected_position=position), 4)
    assert caught.value.metadata == {"position": "3", "expected_position": str(position)}
    assert (await at.admin.get(OWNER, "one")).record.position == 3


async def test_a_request_that_is_repeated_begins_where_it_began_and_is_not_applied_twice(at: Rooms) -> None:
    await request(at, into(request_id="a"), 1, 2, 3)
    async with at.sessions.begin(into(request_id="b", expected_position=3), LSTM, OWNER) as first:
        await commit(first, 4, 5, seed=77)
    async with at.sessions.begin(into(request_id="b", expected_position=3), LSTM, OWNER) as again:
        result = await commit(again, 4, 5)
    assert same(first.initial, again.initial)
    assert (again.already_applied, again.wants_state, again.initial.seed) == (True, False, 77)
    assert (result.position, result.already_applied) == (5, True)
    assert (await request(at, into(request_id="c", expected_position=5), 6)).position == 6


async def test_a_repeated_request_that_expects_another_position_than_the_first_try_is_refused(at: Rooms) -> None:
    await request(at, into(request_id="a"), 1, 2, 3)
    await request(at, into(request_id="b", expected_position=3), 4, 5)
    for position in (0, 5):  # 5 is where the session is now, not where the request began
        with pytest.raises(
            PositionMismatchError, match=f"expected_position is {position}, but the state is at position 3"
        ):
            await request(at, into(request_id="b", expected_position=position), 4, 5)
    assert (await at.admin.get(OWNER, "one")).record.position == 5


async def test_a_request_that_created_its_session_can_be_repeated(at: Rooms) -> None:
    await request(at, into(request_id="a", expected_position=0), 1, 2, 3, seed=5)
    async with at.sessions.begin(into(request_id="a", expected_position=0), LSTM, OWNER) as again:
        assert (again.initial.position, again.initial.seed) == (0, 5)
        assert (await commit(again, 1, 2, 3)).position == 3


async def test_a_request_applied_before_the_last_is_refused_for_as_long_as_the_session_knows_it(at: Rooms) -> None:
    for number in range(40):
        await request(at, into(request_id=f"r{number}"), 1)
    for number in (7, 38):
        with pytest.raises(PositionMismatchError, match="was applied before, and the session has since advanced"):
            await request(at, into(request_id=f"r{number}"), 1)
    assert (await request(at, into(request_id="r39"), 1)).already_applied
    assert not (await request(at, into(request_id="r0"), 1)).already_applied  # forgotten: 32 are known


async def test_a_request_without_an_id_ends_the_repeats_of_the_one_before(at: Rooms) -> None:
    await request(at, into(request_id="a"), 1)
    await request(at, into(), 2)
    with pytest.raises(PositionMismatchError):
        await request(at, into(request_id="a"), 1)


async def test_a_busy_session_is_refused(at: Rooms) -> None:
    async with at.sessions.begin(into(request_id="a"), LSTM, OWNER) as transaction:
        for other in (into(request_id="b"), into()):
            with pytest.raises(SessionBusyError):
                await request(at, other, 9)
        await commit(transaction, 1)
    assert (await request(at, into(), 2)).position == 2


async def test_a_session_is_free_once_a_request_is_committed(at: Rooms) -> None:
    async with at.sessions.begin(into(request_id="a"), LSTM, OWNER) as transaction:
        await commit(transaction, 1)
        assert (await request(at, into(request_id="b"), 2)).position == 2  # the first one's end may never be told


async def test_who_wants_to_wait_comes_when_the_session_is_free(at: Rooms) -> None:
    async with at.sessions.begin(into(), LSTM, OWNER) as transaction:
        waiting = [asyncio.create_task(request(at, into(wait=True), 9)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        await commit(transaction, 1)
    results = await asyncio.gather(*waiting)
    assert sorted(result.position for result in results) == [2, 3, 4]


async def test_one_that_waits_can_be_cancelled_and_leaves_nothing_behind(at: Rooms) -> None:
    async with at.sessions.begin(into(), LSTM, OWNER) as transaction:
        waiting = asyncio.create_task(request(at, into(wait=True), 9))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await commit(transaction, 1)
    assert (await request(at, into(), 2)).position == 2


async def test_a_retry_takes_the_session_over_at_once_and_the_first_try_cannot_commit(at: Rooms) -> None:
    await request(at, into(), 1)
    again = at.sessions.begin(into(request_id="a"), LSTM, OWNER)
    async with at.sessions.begin(into(request_id="a"), LSTM, OWNER) as first, again as second:
        assert not second.already_applied
        with pytest.raises(LeaseLostError):
            await commit(first, 2, 3)
        assert (await commit(second, 2, 3)).position == 3
    assert (await request(at, into(), 4)).position == 4


async def test_a_retry_takes_over_the_creation_too(at: Rooms) -> None:
    async with at.sessions.begin(into(request_id="a"), LSTM, OWNER) as first:
        async with at.sessions.begin(into(request_id="a"), LSTM, OWNER) as second:
            assert (await commit(second, 1)).position == 1
        with pytest.raises(LeaseLostError):
            await commit(first, 1)
    assert (await request(at, into(request_id="a"), 1)).already_applied


async def test_a_repeat_is_answered_while_another_request_advances_the_session(at: Rooms) -> None:
    await request(at, into(request_id="a"), 1, 2)
    async with at.sessions.begin(into(request_id="b"), LSTM, OWNER) as transaction:
        assert (await request(at, into(request_id="a"), 1, 2)).already_applied
        await commit(transaction, 3)
    assert (await at.admin.get(OWNER, "one")).record.position == 3


async def test_a_session_that_was_deleted_meanwhile_stays_deleted(at: Rooms) -> None:
    await request(at, into(), 1)
    async with at.sessions.begin(into(), LSTM, OWNER) as transaction:
        await at.admin.delete(OWNER, "one")
        with pytest.raises(SessionNotFoundError):
            await commit(transaction, 2)
    with pytest.raises(SessionNotFoundError):
        await at.admin.get(OWNER, "one")


@pytest.mark.parametrize("destination", [Destination.DISCARD, Destination.SNAPSHOT])
async def test_a_request_that_leaves_its_session_as_it_was_needs_it_not_for_itself(
    at: Rooms, destination: Destination
) -> None:
    await request(at, into(), 1, 2)
    async with at.sessions.begin(into(), LSTM, OWNER) as holder:
        spec = StateSpec(session_id="one", destination=destination, expected_position=2)
        result = await request(at, spec, 3)
        assert (result.position, result.session_id, bool(result.snapshot)) == (
            3,
            "",
            destination is Destination.SNAPSHOT,
        )
        await commit(holder, 4, 5)
    assert (await at.admin.get(OWNER, "one")).record.position == 4


async def test_a_snapshot_goes_on_without_any_session(at: Rooms) -> None:
    await request(at, into(), 1, 2, 3, 4)
    fresh = await request(at, StateSpec(destination=Destination.SNAPSHOT), 1, 2)
    again = StateSpec(snapshot=fresh.snapshot, destination=Destination.SNAPSHOT, expected_position=2)
    result = await request(at, again, 3, 4)
    async with at.sessions.begin(StateSpec(snapshot=result.snapshot), LSTM, OWNER) as carried:
        assert not carried.wants_state
    async with at.sessions.begin(into(), LSTM, OWNER) as kept:
        assert same(kept.initial, carried.initial)
    assert (await at.store.usage()).sessions == 1


async def test_a_snapshot_at_another_position_than_expected_is_refused(at: Rooms) -> None:
    fresh = await request(at, StateSpec(destination=Destination.SNAPSHOT), 1, 2)
    for position in (0, 1, 3):
        spec = StateSpec(snapshot=fresh.snapshot, destination=Destination.SNAPSHOT, expected_position=position)
        with pytest.raises(PositionMismatchError) as caught:
            await request(at, spec, 3)
        assert caught.value.metadata == {"position": "2", "expected_position": str(position)}
    with pytest.raises(PositionMismatchError):  # a new sequence is at 0
        await request(at, StateSpec(destination=Destination.SNAPSHOT, expected_position=1), 1)


async def test_no_state_at_all_costs_no_look_at_the_store(at: Rooms) -> None:
    await at.store.close()
    async with at.sessions.begin(None, LSTM, OWNER) as transaction:
        assert (transaction.initial.position, transaction.initial.last_token, transaction.wants_state) == (
            0,
            None,
            False,
        )
        assert (await commit(transaction, 1, 2)).position == 2


async def test_an_expired_session_is_told_with_its_time_and_made_anew_only_if_asked(at: Rooms) -> None:
    await request(at, into(ttl_s=10.0), 1)
    at.clock.advance(10)
    with pytest.raises(SessionExpiredError, match="expired at 2001-09-09T01:46:50") as caught:
        await request(at, into(create=False), 2)
    assert caught.value.metadata == {"expire_time": "2001-09-09T01:46:50.000+00:00"}
    await at.maintenance.sweep()
    with pytest.raises(SessionExpiredError):
        await at.admin.get(OWNER, "one")
    assert (at.sessions.counts.expired, at.maintenance.usage.sessions) == (1, 0)
    at.clock.advance(GRACE_S)
    with pytest.raises(SessionNotFoundError):
        await at.admin.get(OWNER, "one")
    assert (await request(at, into(), 2)).position == 1


async def test_each_use_puts_the_expiry_off_and_may_change_the_time_to_live(at: Rooms) -> None:
    await request(at, into(ttl_s=10.0), 1)
    at.clock.advance(9)
    assert (await request(at, into(), 2)).expires_s == at.clock() + 10
    at.clock.advance(9)
    assert (await request(at, into(ttl_s=20.0), 3)).expires_s == at.clock() + 20
    touched = await at.admin.touch(OWNER, "one", 5.0)
    assert touched.record.expires_s == at.clock() + 5


async def test_checkpoints_are_kept_up_to_the_limit_and_one_of_the_same_name_is_replaced(models: Path) -> None:
    with rooms(models, checkpoints_max=2) as at:
        for token, name in enumerate(("a", "b", "a")):
            await request(at, into(checkpoint=name), token)
        kept = (await at.admin.get(OWNER, "one")).stored.checkpoints
        assert [(each.name, each.state.position) for each in kept] == [("b", 2), ("a", 3)]
        with pytest.raises(InvalidFieldError, match="has 2 checkpoints, the limit is 2") as caught:
            await request(at, into(checkpoint="c"), 4)
        assert caught.value.field == "state.checkpoint"
        assert (await request(at, into(), 4)).position == 4


async def test_tokens_are_kept_from_the_beginning_or_not_at_all(at: Rooms) -> None:
    await request(at, into(keep_tokens=True), 1, 2)
    await request(at, into(), 3)
    async with at.sessions.begin(into(), LSTM, OWNER) as transaction:
        assert transaction.initial.tokens.tolist() == [1, 2, 3]
    await request(at, into("other"), 1)
    with pytest.raises(InvalidFieldError, match="the earlier tokens were not kept"):
        await request(at, into("other", keep_tokens=True), 2)


@pytest.mark.parametrize("snapshot", [b"", b"\x00", b"not a snapshot at all", bytes(range(256))])
async def test_what_is_no_snapshot_is_refused(at: Rooms, snapshot: bytes) -> None:
    with pytest.raises(SnapshotInvalidError):
        await request(at, StateSpec(snapshot=snapshot), 1)


async def test_what_the_store_has_damaged_is_said_to_be_lost(at: Rooms) -> None:
    await request(at, into(), 1)
    key = SessionKey(OWNER, "one")
    lease = await at.store.acquire(key, "someone")
    record = await at.store.read(key)
    assert record is not None
    await at.store.write(replace(record, body=record.body[:-1]), lease)
    await at.store.release(lease)
    with pytest.raises(ServeError) as caught:
        await request(at, into(), 2)
    assert (caught.value.kind.name, caught.value.reason) == ("DATA_LOSS", "STORE_FAILED")


@pytest.mark.parametrize("keep", [False, True])
async def test_a_snapshot_holds_the_tokens_of_a_new_sequence_if_asked_to(at: Rooms, keep: bool) -> None:
    result = await request(at, StateSpec(destination=Destination.SNAPSHOT, keep_tokens=keep), 1, 2, 3)
    async with at.sessions.begin(StateSpec(snapshot=result.snapshot), LSTM, OWNER) as transaction:
        assert transaction.initial.tokens.tolist() == ([1, 2, 3] if keep else [])
