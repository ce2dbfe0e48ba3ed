"""The SQLite store: what it acknowledged stays, whatever happens to the process; one process a file."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from seqserve.server.errors import (
    StoreDataLossError,
    StoreFullError,
    StoreUnavailableError,
    StoreUnusableError,
    UnusableStoreError,
)
from seqserve.server.stores.sqlite import SqliteStore
from seqserve.server.stores.store import SessionKey, Usage
from tests.server.stores.rig import LONG_S, a_record

PROGRAM = """
import asyncio, sys
from pathlib import Path
from seqserve.server.stores import Record, SessionKey
from seqserve.server.stores.sqlite import SqliteStore

async def main(path, writers):
    store = SqliteStore(Path(path), grace_s=10.0)

    async def write(id_):
        record, _ = await store.create(Record(SessionKey("", id_), "m", "d", 0, 1000.0, b"0"))
        lease = await store.acquire(record.key, "request")
        while True:
            position = record.position + 1
            record = Record(record.key, "m", "d", position, 1000.0, b"%d" % position * 500, record.created_s)
            record = await store.write(record, lease)
            print(id_, position, flush=True)

    await asyncio.gather(*(write(str(number)) for number in range(int(writers))))

asyncio.run(main(*sys.argv[1:]))
"""


def started(path: Path, writers: int) -> subprocess.Popen[str]:
    """A process that writes sessions concurrently, and prints the ID and position of each after it is written."""
    words = [sys.executable, "-c", PROGRAM, str(path), str(writers)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("lines", [1, 40, 173, 400])
async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "sessions.db"
    with started(path, writers=8) as writer:
        assert writer.stdout is not None
        result = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        result += [line for line in writer.stdout if line.endswith("\n")]
    acknowledged = {id_: int(position) for id_, position in (line.split() for line in result)}
    store = SqliteStore(path, grace_s=10.0)
    for id_, position in acknowledged.items():
        existing = await store.read(SessionKey("", id_))
        assert existing is not None
        assert existing.position in (position, position + 1)  # written, and killed before it could say so
        assert existing.body == b"%d" % existing.position * 500
        await store.acquire(existing.key, "another")  # the killed process's leases are gone with it
    await store.close()


async def test_a_second_process_is_told_to_use_redis(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    with started(path, writers=1) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        with pytest.raises(UnusableStoreError, match=r"another server uses .*sessions\.db.*Redis"):
            SqliteStore(path, grace_s=10.0)
        writer.kill()
    await SqliteStore(path, grace_s=10.0).close()


@pytest.mark.parametrize("name", ["symbolic", "hard", "same"])
async def test_a_file_under_another_name_is_the_same_file(tmp_path: Path, name: str) -> None:
    path, other = tmp_path / "sessions.db", tmp_path / "elsewhere" / "other.db"
    other.parent.mkdir()
    with started(path, writers=1) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        if name == "symbolic":
            other.symlink_to(path)
        elif name == "hard":
            other.hardlink_to(path)
        else:
            other = path
        with pytest.raises(UnusableStoreError, match="another server uses"):
            SqliteStore(other, grace_s=10.0)
        writer.kill()
    await SqliteStore(other, grace_s=10.0).close()


async def test_one_process_opens_a_file_once(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    store = SqliteStore(path, grace_s=10.0)
    record, _ = await store.create(a_record())
    with pytest.raises(UnusableStoreError, match="another server uses"):
        SqliteStore(path, grace_s=10.0)
    assert await store.read(record.key) == record
    await store.close()
    await SqliteStore(path, grace_s=10.0).close()


@pytest.mark.parametrize("replaced", [True, False])
async def test_a_file_that_is_replaced_under_the_server_is_noticed(tmp_path: Path, replaced: bool) -> None:
    path, aside = tmp_path / "sessions.db", tmp_path / "aside.db"
    store = SqliteStore(path, grace_s=10.0)
    record, _ = await store.create(a_record())
    path.rename(aside)
    if replaced:
        path.write_bytes(b"")
    for call in (store.read(record.key), store.touch(record.key, None), store.create(a_record("two")), store.sweep()):
        with pytest.raises(StoreUnusableError, match=r"sessions\.db was removed or replaced"):
            await call
    aside.rename(path)  # the file is back, and so is the store
    assert await store.read(record.key) == record
    assert (await store.usage()).sessions == 1
    await store.close()


async def test_a_file_that_is_replaced_during_a_transaction_is_no_success(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    store = SqliteStore(path, grace_s=10.0)

    def replace_file(statement: str) -> None:
        if statement == "COMMIT":
            path.rename(tmp_path / "aside.db")

    store._connections[0].set_trace_callback(replace_file)
    with pytest.raises(StoreUnusableError, match="removed or replaced"):
        await store.create(a_record())
    await store.close()


async def test_a_log_that_a_cleaner_deletes_is_noticed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sessions.db", grace_s=10.0)
    record, _ = await store.create(a_record())
    (tmp_path / "sessions.db-wal").unlink()
    with pytest.raises(StoreUnusableError, match=r"sessions\.db-wal was removed or replaced"):
        await store.touch(record.key, None)
    await store.close()


async def test_a_store_is_opened_again_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    first = SqliteStore(path, grace_s=10.0)
    record, _ = await first.create(a_record())
    await first.acquire(record.key, "request")
    await first.close()
    second = SqliteStore(path, grace_s=10.0)
    assert await second.read(record.key) == record
    assert await second.usage() == Usage(1, len(record.body))
    assert (await second.write(replace(record, position=4), await second.acquire(record.key, "other"))).position == 4
    await second.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no database, but a text that somebody wrote " * 99, "not a database"), (None, "format must be 1, got 7")],
)
async def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "sessions.db"
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA user_version = 7")
        other.close()
    else:
        path.write_bytes(content)
    for _ in range(2):  # and the refusal leaves no lock behind
        with pytest.raises(UnusableStoreError, match=f"sessions.db cannot be opened: .*{message}"):
            SqliteStore(path, grace_s=10.0)


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableStoreError, match="nowhere"):
        SqliteStore(tmp_path / "nowhere" / "sessions.db", grace_s=10.0)


async def test_a_full_disk_refuses_and_keeps_what_is_there(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sessions.db", grace_s=10.0)
    record, _ = await store.create(a_record())
    store._connections[0].execute("PRAGMA max_page_count = 20")
    with pytest.raises(StoreFullError, match="no room") as refused:
        await store.create(a_record("big", body=bytes(1 << 20)))
    assert refused.value.retry_after_s
    assert await store.read(record.key) == record
    assert await store.usage() == Usage(1, len(record.body))
    await store.create(a_record("small"))
    await store.close()


async def test_a_damaged_file_is_data_loss(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    store = SqliteStore(path, grace_s=10.0)
    for number in range(200):
        await store.create(a_record(f"{number}", body=bytes(3000)))
    await store.close()
    content = bytearray(path.read_bytes())
    content[8192 * 4 :] = b"\x99" * (len(content) - 8192 * 4)
    path.write_bytes(content)
    store = SqliteStore(path, grace_s=10.0)
    with pytest.raises(StoreDataLossError, match="damaged"):
        await asyncio.gather(*(store.read(SessionKey("me", f"{number}")) for number in range(200)))
    await store.close()


async def test_many_writers_share_a_transaction(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sessions.db", grace_s=10.0)
    commits: list[str] = []
    store._connections[0].set_trace_callback(lambda message: commits.append(message) if message == "COMMIT" else None)
    answers = await asyncio.gather(*(store.create(a_record(f"{number}")) for number in range(200)))
    assert all(created for _, created in answers)
    assert len(commits) < 50
    await store.close()


async def test_who_is_cancelled_while_writing_leaves_a_store_that_works(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sessions.db", grace_s=10.0)
    record, _ = await store.create(a_record())
    for number in range(20):
        lease = await store.acquire(record.key, "request")
        writing = asyncio.create_task(store.write(replace(record, body=b"%d" % number), lease))
        for _ in range(number % 3):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        existing = await store.read(record.key)
        await store.release(lease)
        assert await store.read(record.key) == existing  # once the cancelled one has ended, nothing changes any more
    await store.touch(record.key, LONG_S)
    await store.close()


async def test_a_store_that_is_closed_keeps_nobody_waiting(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sessions.db", grace_s=1.0)
    await store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.create(a_record())


async def test_a_lease_whose_takeover_fails_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "sessions.db", grace_s=10.0)
    record, _ = await store.create(a_record())
    first = await store.acquire(record.key, "request")

    async def fails(change: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(store._commits, "run", fails)
        with pytest.raises(StoreUnavailableError):
            await store.acquire(record.key, "request")  # the same request once more takes its lease over
    again = await store.acquire(record.key, "another")
    assert again.fence > first.fence
    assert (await store.write(replace(record, position=2), again)).position == 2
    await store.close()
