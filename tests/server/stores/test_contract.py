"""What every store promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from seqserve.server.errors import LeaseLostError, SessionBusyError, SessionNotFoundError
from seqserve.server.stores import Record, SessionKey, Store, Usage
from tests.server.stores.rig import GRACE_S, LONG_S, Rig, a_record

SHORT_S = 0.25


async def created(store: Store, record: Record) -> Record:
    existing, was_created = await store.create(record)
    assert was_created
    return existing


async def ids(store: Store, owner: str = "me", model: str = "", after: str = "", count: int = 100) -> list[str]:
    return [record.key.id for record in await store.list(owner, model, after, count)]


async def test_what_is_created_is_read(every: Rig) -> None:
    made = a_record(position=2**53, body=bytes(range(256)) * 40)
    existing = await created(every.store, made)
    assert existing.created_s == existing.updated_s > 0
    assert existing.expires_s == pytest.approx(existing.created_s + LONG_S, abs=0.1)
    assert replace(existing, created_s=0.0, updated_s=0.0, expires_s=0.0) == made
    assert await every.store.read(made.key) == existing


async def test_what_was_never_created_is_not_there(every: Rig) -> None:
    key = SessionKey("me", "one")
    assert await every.store.read(key) is None
    assert await every.store.touch(key, 5.0) is None
    assert not await every.store.delete(key)
    assert await every.store.list("me", "", "", 10) == []
    assert await every.store.usage() == Usage(0, 0)


async def test_a_live_session_is_not_created_again(every: Rig) -> None:
    first = await created(every.store, a_record())
    assert await every.store.create(a_record(model="gru", position=9, body=b"other")) == (first, False)
    assert await every.store.read(first.key) == first


async def test_of_many_that_create_the_same_session_one_does(every: Rig) -> None:
    answers = await asyncio.gather(*(every.store.create(a_record(body=bytes([number]))) for number in range(20)))
    assert sum(was_created for _, was_created in answers) == 1
    assert len({existing for existing, _ in answers}) == 1


async def test_owners_cannot_meet(every: Rig) -> None:
    for owner, id_ in [("", "a:b"), ("a", "b"), ("a:b", ""), ("1:a", "b"), ("a", ":b"), ("é", "b"), ("", "b")]:
        await created(every.store, a_record(id_, owner, body=f"{owner}|{id_}".encode()))
    for owner, id_ in [("", "a:b"), ("a", "b"), ("a:b", ""), ("1:a", "b"), ("a", ":b"), ("é", "b"), ("", "b")]:
        existing = await every.store.read(SessionKey(owner, id_))
        assert existing is not None
        assert existing.body == f"{owner}|{id_}".encode()
    assert await ids(every.store, "a") == [":b", "b"]
    assert not await every.store.delete(SessionKey("b", "b"))


async def test_a_write_replaces_what_was_read(every: Rig) -> None:
    first = await created(every.store, a_record(ttl_s=LONG_S / 2))
    lease = await every.store.acquire(first.key, "request")
    await every.pass_time(0.01)
    after = await every.store.write(replace(first, position=8, digest="e", body=b"later"), lease, LONG_S)
    assert await every.store.read(first.key) == after
    assert (after.position, after.digest, after.body) == (8, "e", b"later")
    assert after.created_s == first.created_s < after.updated_s
    assert after.expires_s == pytest.approx(after.updated_s + LONG_S, abs=0.1)
    assert [await every.store.count_of_servable(digest) for digest in (first.digest, "e")] == [0, 1]
    assert await every.store.usage() == Usage(1, len(b"later"))


async def test_a_touch_while_a_request_runs_outlives_its_write(every: Rig) -> None:
    first = await created(every.store, a_record(ttl_s=LONG_S / 2))
    lease = await every.store.acquire(first.key, "request")
    await every.store.touch(first.key, LONG_S)
    after = await every.store.write(replace(first, position=8), lease)
    assert after.ttl_s == LONG_S
    assert after.expires_s == pytest.approx(after.updated_s + LONG_S, abs=0.1)
    assert await every.store.read(first.key) == after


async def test_a_deleted_session_is_not_written(every: Rig) -> None:
    first = await created(every.store, a_record())
    lease = await every.store.acquire(first.key, "request")
    assert await every.store.delete(first.key)
    with pytest.raises(SessionNotFoundError, match="one"):
        await every.store.write(first, lease)
    assert await every.store.read(first.key) is None


async def test_a_later_session_of_the_same_id_is_not_written_by_a_request_of_the_former(every: Rig) -> None:
    first = await created(every.store, a_record())
    await every.store.acquire(first.key, "request")
    await every.store.delete(first.key)
    await every.pass_time(0.01)
    second = await created(every.store, a_record(body=b"second"))
    lease = await every.store.acquire(first.key, "request")
    with pytest.raises(SessionNotFoundError):
        await every.store.write(first, lease)
    assert await every.store.read(first.key) == second


async def test_one_request_at_a_time_has_the_lease(every: Rig) -> None:
    key = (await created(every.store, a_record())).key
    lease = await every.store.acquire(key, "request")
    with pytest.raises(SessionBusyError, match="one"):
        await every.store.acquire(key, "other")
    assert await every.store.renew(lease)
    await every.store.acquire(SessionKey("you", "one"), "other")
    await every.store.release(lease)
    assert (await every.store.acquire(key, "other")).holder == "other"
    assert not await every.store.renew(lease)


async def test_a_retry_takes_the_lease_over_and_what_comes_late_is_refused(every: Rig) -> None:
    first = await created(every.store, a_record())
    broken = await every.store.acquire(first.key, "request")
    retry = await every.store.acquire(first.key, "request")
    assert retry.fence > broken.fence
    with pytest.raises(LeaseLostError, match="one"):
        await every.store.write(replace(first, body=b"late"), broken)
    assert not await every.store.renew(broken)
    await every.store.release(broken)
    assert await every.store.renew(retry)
    assert (await every.store.write(replace(first, body=b"retried"), retry)).body == b"retried"
    await every.store.release(retry)
    with pytest.raises(LeaseLostError):
        await every.store.write(replace(first, body=b"late"), broken)


async def test_who_takes_over_reads_what_was_written_before_and_nothing_is_written_after(every: Rig) -> None:
    record = await created(every.store, a_record())
    lease = await every.store.acquire(record.key, "request")
    for number in range(30):
        writing = asyncio.create_task(every.store.write(replace(record, body=bytes([number])), lease))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        lease = await every.store.acquire(record.key, "request")
        existing = await every.store.read(record.key)
        await asyncio.wait([writing])
        assert existing == await every.store.read(record.key)


async def test_waiting_ends_when_the_lease_is_given_back(every: Rig) -> None:
    key = SessionKey("me", "one")
    await every.store.wait_free(key)
    lease = await every.store.acquire(key, "request")
    waiting = [asyncio.create_task(every.store.wait_free(key)) for _ in range(3)]
    await asyncio.wait(waiting, timeout=SHORT_S)
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    await every.store.release(lease)
    await asyncio.gather(*waiting[1:])
    await every.store.acquire(key, "other")


async def test_a_deleted_session_has_no_lease(every: Rig) -> None:
    key = (await created(every.store, a_record())).key
    await every.store.acquire(key, "request")
    waiting = asyncio.create_task(every.store.wait_free(key))
    await asyncio.wait([waiting], timeout=SHORT_S)
    assert await every.store.delete(key)
    await waiting
    await every.store.acquire(key, "other")


async def test_a_touch_begins_the_time_anew(every: Rig) -> None:
    first = await created(every.store, a_record())
    await every.pass_time(0.01)
    touched = await every.store.touch(first.key, None)
    assert touched is not None
    assert touched.expires_s > first.expires_s
    assert replace(touched, expires_s=first.expires_s) == first
    longer = await every.store.touch(first.key, 2 * LONG_S)
    assert longer is not None
    assert longer.ttl_s == 2 * LONG_S
    assert longer.expires_s > touched.expires_s + LONG_S / 2
    assert await every.store.read(first.key) == longer


async def test_a_deleted_session_is_forgotten(every: Rig) -> None:
    first = await created(every.store, a_record())
    assert await every.store.delete(first.key)
    assert not await every.store.delete(first.key)
    assert await every.store.read(first.key) is None
    assert await every.store.usage() == Usage(0, 0)
    assert await every.store.count_of_servable(first.digest) == 0
    await created(every.store, a_record(body=b"again"))


async def test_a_list_has_an_owners_sessions_in_order_page_by_page(every: Rig) -> None:
    names = ["b", "a", "B", "ab", "é", "日本", "\U0001f600", "\uffff", "a b", "10", "9"]
    for number, name in enumerate(names):
        await created(every.store, a_record(name, model="odd" if number % 2 else "even", body=name.encode()))
    await created(every.store, a_record("a", owner="you"))
    in_order = sorted(names, key=str.encode)
    assert await ids(every.store) == in_order
    pages, after = [], ""
    while page := await ids(every.store, after=after, count=3):
        pages += page
        after = page[-1]
    assert pages == in_order
    odd = [name for name in in_order if names.index(name) % 2]
    assert await ids(every.store, model="odd") == odd
    assert await ids(every.store, model="odd", after=odd[0], count=2) == odd[1:3]
    assert all(record.body == record.key.id.encode() for record in await every.store.list("me", "", "", 100))


async def test_an_expired_session_is_known_for_a_while(every: Rig) -> None:
    first = await created(every.store, a_record(ttl_s=SHORT_S))
    await created(every.store, a_record("two"))
    await every.pass_time(SHORT_S + 0.01)
    tombstone = replace(first, body=b"")
    assert await every.store.read(first.key) == tombstone
    assert await every.store.touch(first.key, LONG_S) == tombstone
    assert not await every.store.delete(first.key)
    assert await ids(every.store) == ["two"]
    assert await every.store.sweep() == 1
    assert await every.store.sweep() == 0
    assert await every.store.read(first.key) == tombstone
    assert await every.store.count_of_servable(first.digest) == 1
    assert await every.store.usage() == Usage(1, len(first.body))
    await every.pass_time(GRACE_S)
    assert await every.store.read(first.key) is None
    assert await every.store.sweep() == 0
    assert await every.store.read(first.key) is None


@pytest.mark.parametrize("swept", [False, True])
async def test_an_expired_session_gives_its_id_free(every: Rig, swept: bool) -> None:
    await created(every.store, a_record(ttl_s=SHORT_S))
    await every.pass_time(SHORT_S + 0.01)
    if swept:
        await every.store.sweep()
    second = await created(every.store, a_record(body=b"second"))
    await every.pass_time(GRACE_S)
    assert await every.store.sweep() == 0
    assert await every.store.read(second.key) == second
    assert await every.store.usage() == Usage(1, len(b"second"))
    assert await ids(every.store) == ["one"]


async def test_a_session_does_not_expire_while_it_is_leased(every: Rig) -> None:
    first = await created(every.store, a_record(ttl_s=SHORT_S))
    lease = await every.store.acquire(first.key, "request")
    await every.pass_time(SHORT_S + 0.01)
    assert await every.store.sweep() == 0
    assert await every.store.renew(lease)
    existing = await every.store.read(first.key)
    assert existing is not None
    assert existing.body == first.body
    await every.pass_time(SHORT_S + 0.01)
    written = await every.store.write(replace(first, position=9), lease)
    await every.store.release(lease)
    await every.pass_time(SHORT_S + 0.01)
    assert await every.store.read(first.key) == replace(written, body=b"")


async def test_a_lease_does_not_bring_an_expired_session_back(every: Rig) -> None:
    first = await created(every.store, a_record(ttl_s=SHORT_S))
    await every.pass_time(SHORT_S + 0.01)
    lease = await every.store.acquire(first.key, "request")
    assert await every.store.read(first.key) == replace(first, body=b"")
    with pytest.raises(SessionNotFoundError):
        await every.store.write(first, lease)
    assert await every.store.sweep() == 1


async def test_many_sessions_expire_in_one_sweep(every: Rig) -> None:
    for number in range(600):
        await created(every.store, a_record(f"{number}", ttl_s=SHORT_S if number % 6 else LONG_S))
    await every.pass_time(SHORT_S + 0.01)
    assert await every.store.sweep() == 500
    assert (await every.store.usage()).sessions == 100
    assert len(await ids(every.store, count=1000)) == 100
