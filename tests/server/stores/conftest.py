from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.server.stores.rig import KINDS, Rig, rig


@pytest.fixture(params=KINDS)
async def every(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Rig]:
    """An empty store of every kind, one after the other."""
    async with rig(request.param, tmp_path, lambda: str(request.getfixturevalue("redis_url"))) as made:
        yield made
