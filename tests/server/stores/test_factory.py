"""The settings choose the store."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from seqserve.server.errors import UnusableStoreError
from seqserve.server.settings import SessionSettings
from seqserve.server.stores import open_store
from seqserve.server.testing import running_server
from tests.server.stores.rig import a_record


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
async def test_settings_choose_the_store(kind: str, tmp_path: Path) -> None:
    settings = {
        "memory": SessionSettings(when_full="spill"),
        "sqlite": SessionSettings(path=tmp_path / "sessions.db"),
        "redis": SessionSettings(redis="redis://127.0.0.1:1"),
    }[kind]
    store = open_store(settings)
    assert type(store).__name__.lower() == f"{kind}store"
    assert store.durable == (kind != "memory")
    if kind != "redis":
        record, _ = await store.create(a_record())
        assert await store.read(record.key) == record
    await store.close()


async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith(("redis.", "seqserve.server.stores.redis"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(UnusableStoreError, match=r"pip install 'seqserve\[server,redis\]'"):
        open_store(SessionSettings(redis="redis://localhost"))


async def test_a_server_whose_redis_is_not_there_says_so_when_it_starts(
    tmp_path: Path,
) -> None:
    result = asyncio.Event()

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.WARNING and "127.0.0.1:1" in record.getMessage():
                result.set()

    log = logging.getLogger("seqserve")
    handler = Telling()
    log.addHandler(handler)
    try:
        async with running_server(tmp_path, sessions={"redis": "redis://127.0.0.1:1", "sweep_interval_s": 1000.0}):
            await asyncio.wait_for(result.wait(), 30)
    finally:
        log.removeHandler(handler)
