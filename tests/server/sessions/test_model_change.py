"""A session whose version is no longer the newest, or is to be unloaded: pin, replay, refuse."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seqserve.server.errors import ModelNotReadyError, ServableMismatchError, VersionNotFoundError
from seqserve.server.repository import EntryState
from seqserve.server.sessions import StateSpec
from tests.server.sessions.rig import LSTM, OWNER, Rooms, commit, into, request, rooms, same

Grow = Callable[[Path], None]


@pytest.fixture
def root(models: Path, tmp_path: Path) -> Path:
    """A repository of the test's own, with version 1 of `lstm`."""
    return Path(shutil.copytree(models, tmp_path / "models"))


@pytest.fixture
def grow() -> Grow:
    """Write version 2 of `lstm`: another graph, the same tokenizer."""

    def make(root: Path) -> None:
        from tests.servables import make_language_model  # torch takes seconds to import

        make_language_model(root / "lstm", hidden_size=16, seed=9)

    return make


def state_of(at: Rooms, version: int) -> EntryState:
    return at.repository.entry("lstm", version).state


async def test_pinned_a_session_stays_with_its_version_and_a_new_one_gets_the_newest(root: Path, grow: Grow) -> None:
    with rooms(root) as at:
        await request(at, into(), 1, 2)
        grow(root)
        assert (await at.repository.load_version("lstm", None)).version == 2
        await request(at, into("new"), 1, 2)
        versions = {}
        for name in ("one", "new"):
            async with at.sessions.begin(into(name), LSTM, OWNER) as transaction:
                versions[name] = transaction.model.servable.id.version
        assert versions == {"one": 1, "new": 2}
        assert (await request(at, into(), 3, ref=("lstm", 1))).position == 3
        with pytest.raises(ServableMismatchError, match=r"belongs to lstm/1 .* another graph than lstm/2") as caught:
            await request(at, into(), 4, ref=("lstm", 2))
        assert {*caught.value.metadata} == {"state_digest", "servable_digest"}
        with pytest.raises(ServableMismatchError):
            await request(at, into(), 4, ref=("gru", None))


async def test_a_version_that_is_unloaded_goes_when_its_last_session_has_gone(root: Path) -> None:
    with rooms(root) as at:
        await request(at, into(ttl_s=10.0), 1)
        assert at.repository.unload_version("lstm", 1).state is EntryState.UNLOADING
        await at.maintenance.unload_unused_models()
        assert state_of(at, 1) is EntryState.UNLOADING
        with pytest.raises(ModelNotReadyError, match="is being unloaded"):
            await request(at, into("new"), 1)
        for ref in (LSTM, ("lstm", 1)):
            await request(at, into(), 2, ref=ref)  # a started session continues
        at.clock.advance(10)
        await at.maintenance.sweep()
        assert state_of(at, 1) is EntryState.UNLOADED
        with pytest.raises(ModelNotReadyError, match="was unloaded"):
            await request(at, into("new"), 1)
        assert (await at.repository.load_version("lstm", 1)).state is EntryState.READY
        assert (await request(at, into("new"), 1)).position == 1


async def test_a_version_goes_only_when_no_request_uses_it(root: Path) -> None:
    with rooms(root) as at:
        async with at.sessions.begin(None, LSTM, OWNER) as transaction:
            at.repository.unload_version("lstm", 1)
            await at.maintenance.unload_unused_models()
            assert state_of(at, 1) is EntryState.UNLOADING
            await commit(transaction, 1)
        await at.maintenance.unload_unused_models()
        assert state_of(at, 1) is EntryState.UNLOADED


async def test_a_version_can_be_taken_back_while_it_is_unloaded(root: Path) -> None:
    with rooms(root) as at:
        await request(at, into(), 1)
        at.repository.unload_version("lstm", 1)
        engine = at.repository.entry("lstm", 1).model
        entry = await at.repository.load_version("lstm", 1)
        assert (entry.state, entry.model) == (EntryState.READY, engine)
        await at.admin.delete(OWNER, "one")
        await at.maintenance.sweep()
        assert state_of(at, 1) is EntryState.READY


async def test_several_that_load_one_version_wait_for_the_same_and_one_that_gives_up_spoils_nothing(
    root: Path, grow: Grow
) -> None:
    with rooms(root) as at:
        grow(root)
        at.repository.changed.clear()
        tasks = [asyncio.create_task(at.repository.load_version("lstm", 2)) for _ in range(3)]
        await at.repository.changed.wait()
        assert state_of(at, 2) is EntryState.LOADING
        tasks[0].cancel()
        first, second = await asyncio.gather(*tasks[1:])
        assert first is second
        assert first.state is EntryState.READY
        with pytest.raises(VersionNotFoundError):
            await at.repository.load_version("lstm", 3)


async def test_replayed_kept_tokens_go_on_with_the_newest(root: Path, grow: Grow) -> None:
    with rooms(root, on_model_change="replay") as at:
        await request(at, into(keep_tokens=True, checkpoint="a"), 1, 2)
        await request(at, into("forgetful"), 1, 2)
        grow(root)
        await at.repository.load_version("lstm", None)
        async with at.sessions.begin(into(), LSTM, OWNER) as transaction:
            assert transaction.model.servable.id.version == 2
            assert transaction.initial.pending.tolist() == [1, 2]
            await commit(transaction, 3)
        assert (await at.admin.get(OWNER, "one")).stored.state.servable.version == 2
        await request(at, into("whole", keep_tokens=True), 1, 2, 3)
        starts = []
        for name in ("one", "whole"):
            async with at.sessions.begin(into(name), LSTM, OWNER) as transaction:
                starts.append(transaction.initial)
        assert same(*starts)
        async with at.sessions.begin(into("forgetful"), LSTM, OWNER) as transaction:
            assert transaction.model.servable.id.version == 1  # without its tokens it is pinned
        await at.admin.rewind(OWNER, "one", "a", None, "")
        async with at.sessions.begin(into(), LSTM, OWNER) as transaction:
            assert transaction.initial.pending.tolist() == [1, 2]  # a checkpoint of the version before is replayed too


async def test_a_request_on_a_replayed_session_can_be_repeated(root: Path, grow: Grow) -> None:
    with rooms(root, on_model_change="replay") as at:
        await request(at, into(keep_tokens=True), 1, 2)
        grow(root)
        await at.repository.load_version("lstm", None)
        for applied in (False, True):
            async with at.sessions.begin(into(request_id="a"), LSTM, OWNER) as transaction:
                assert transaction.initial.pending.tolist() == [1, 2]
                assert (await commit(transaction, 3)).already_applied is applied


async def test_refused_a_session_of_an_older_version_ends_there(root: Path, grow: Grow) -> None:
    with rooms(root, on_model_change="refuse") as at:
        await request(at, into(), 1)
        grow(root)
        await at.repository.load_version("lstm", None)
        with pytest.raises(ServableMismatchError):
            await request(at, into(), 2)
        assert (await request(at, into(), 2, ref=("lstm", 1))).position == 2
        at.repository.unload_version("lstm", 1)
        await at.maintenance.unload_unused_models()
        assert state_of(at, 1) is EntryState.UNLOADED


async def test_a_snapshot_finds_its_version_by_its_digest(root: Path, grow: Grow) -> None:
    with rooms(root) as at:
        await request(at, into(), 1, 2)
        snapshot, _ = await at.admin.export(OWNER, "one", "")
        grow(root)
        await at.repository.load_version("lstm", None)
        async with at.sessions.begin(StateSpec(snapshot=snapshot), LSTM, OWNER) as transaction:
            assert transaction.model.servable.id.version == 1
        imported = await at.admin.import_(OWNER, "two", snapshot, None, "")
        assert imported.record.digest == transaction.model.servable.id.digest
