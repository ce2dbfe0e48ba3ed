"""Fakes that tests of and around the server share: a clock to turn by hand, a server inside the test's process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from seqserve.server.app import Server
from seqserve.server.settings import ServerSettings


class ManualClock:
    """A clock that stands still until it is advanced; give it to an Engine."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


@asynccontextmanager
async def running_server(models: Path, **settings: Any) -> AsyncGenerator[str]:
    """A real server on a free loopback port, in this event loop; gives its address and stops it at the end."""
    defaults: dict[str, Any] = {"models": models, "listen": "127.0.0.1:0", "drain_s": 0.0}
    server = Server(ServerSettings(**(defaults | settings)))
    try:
        yield await server.start()
    finally:
        await server.stop()
