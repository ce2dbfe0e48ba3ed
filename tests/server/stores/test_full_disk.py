"""A disk that is full: what is stored stays, and can be deleted and can expire. On a real file system of 4 MiB."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqserve.server.errors import StoreFullError
from seqserve.server.stores.sqlite import SqliteStore
from seqserve.server.stores.store import SessionKey
from seqserve.server.testing import ManualClock
from tests.server.stores.rig import a_record

BODY = os.urandom(20_000)
RESERVE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("needs mount")
    words = [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run([umount, "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Something else takes the rest of the disk."""
    with (disk / "other").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


async def fill_store(store: SqliteStore) -> int:
    """Creates sessions until there is no room. Returns how many."""
    count = 0
    with contextlib.suppress(StoreFullError):
        while True:
            await store.create(a_record(f"{count}", body=BODY))
            count += 1
    return count


async def test_sessions_can_be_deleted_and_room_is_used_again(disk: Path) -> None:
    store = SqliteStore(disk / "sessions.db", grace_s=10.0, reserve_bytes=RESERVE)
    store._connections[0].execute("PRAGMA wal_autocheckpoint = 30")
    count = await fill_store(store)
    assert count > 20
    fill(disk)
    for number in range(count):
        assert await store.read(SessionKey("me", f"{number}")) is not None
    for number in range(count):
        assert await store.delete(SessionKey("me", f"{number}"))
    assert (await store.usage()).sessions == 0
    _, created = await store.create(a_record("again", body=BODY))  # in the pages that are free now
    assert created
    await store.close()
    again = SqliteStore(disk / "sessions.db", grace_s=10.0, reserve_bytes=RESERVE)
    assert await again.read(SessionKey("me", "again")) is not None
    await again.close()


async def test_sessions_expire(disk: Path) -> None:
    clock = ManualClock()
    store = SqliteStore(disk / "sessions.db", grace_s=10.0, now=clock, reserve_bytes=RESERVE)
    store._connections[0].execute("PRAGMA wal_autocheckpoint = 30")
    count = await fill_store(store)
    fill(disk)
    clock.advance(2000)
    assert await store.sweep() == count
    clock.advance(20)
    await store.sweep()
    assert (await store.usage()).sessions == 0
    await store.close()


async def test_writes_are_refused_while_the_reserve_is_used_and_the_file_is_full(disk: Path) -> None:
    (disk / "other").write_bytes(bytes(3 << 19))
    store = SqliteStore(disk / "sessions.db", grace_s=10.0, reserve_bytes=RESERVE)
    store._connections[0].execute("PRAGMA wal_autocheckpoint = 30")
    await fill_store(store)
    fill(disk)
    assert await store.delete(SessionKey("me", "0"))
    with pytest.raises(StoreFullError, match="the disk is full"):
        await store.create(a_record("again", body=BODY))
    (disk / "other").unlink()
    _, created = await store.create(a_record("again", body=BODY))
    assert created
    await store.close()
