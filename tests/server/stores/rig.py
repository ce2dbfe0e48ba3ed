"""Stores of every kind under test, and the passing of time for each of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio

from seqserve.server.stores import Record, SessionKey, Store
from seqserve.server.stores.memory import MemoryStore, WhenFull
from seqserve.server.stores.redis import RedisStore
from seqserve.server.stores.sqlite import SqliteStore
from seqserve.server.testing import ManualClock

LOCAL = ("memory", "spill", "sqlite")
KINDS = (*LOCAL, "redis")

GRACE_S = 1.0  # Redis's clock cannot be turned by hand: durations are short, and real ones where it is tested
LONG_S = 1000.0


@dataclass(frozen=True)
class Rig:
    """A store, and a way to let time pass for it."""

    kind: str
    store: Store
    pass_time: Callable[[float], Awaitable[None]]


@contextlib.asynccontextmanager
async def rig(kind: str, folder: Path, redis_url: Callable[[], str]) -> AsyncGenerator[Rig]:
    """An empty store of this kind."""
    clock = ManualClock()
    clock.now_s = 1e9

    async def turn(seconds: float) -> None:
        clock.advance(seconds)

    if kind == "redis":
        await empty(redis_url())
        made = Rig(kind, RedisStore(redis_url(), grace_s=GRACE_S, lease_s=LONG_S / 10), asyncio.sleep)
    elif kind == "sqlite":
        made = Rig(kind, SqliteStore(folder / "sessions.db", grace_s=GRACE_S, now=clock), turn)
    else:
        count_max = 2 if kind == "spill" else 1000
        when_full: WhenFull = "spill" if kind == "spill" else "refuse"
        store = MemoryStore(count_max=count_max, bytes_max=1 << 20, when_full=when_full, grace_s=GRACE_S, now=clock)
        made = Rig(kind, store, turn)
    try:
        yield made
    finally:
        await made.store.close()


async def empty(redis_url: str) -> None:
    """Forget everything in a Redis of the tests."""
    connection: Any = redis.asyncio.Redis.from_url(redis_url)
    await connection.flushall()
    await connection.aclose()


def a_record(id_: str = "one", owner: str = "me", **changed: Any) -> Record:
    """A new session."""
    values: dict[str, Any] = {
        "model": "lstm",
        "digest": "d" * 64,
        "position": 3,
        "ttl_s": LONG_S,
        "body": b"state\x00\xff",
    }
    return Record(SessionKey(owner, id_), **(values | changed))
