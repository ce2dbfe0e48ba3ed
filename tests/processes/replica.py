"""A server that tests kill and restart: same address, same settings, same store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

_START_S = 60.0


def free_port() -> int:
    """Returns a free port, which the next server may keep across restarts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Replica:
    """One server process after another on one address."""

    def __init__(self, models: Path, environment: Mapping[str, str], log: Path) -> None:
        """Args: models: the repository; environment: settings as SEQSERVE_* variables; log: what it says goes there."""
        self.address = f"127.0.0.1:{free_port()}"
        self.kills = 0
        self._arguments: Sequence[str] = ("--models", str(models), "--listen", self.address, "--log-level", "warning")
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start a process and wait until it is ready. Raises: RuntimeError if it ends before; TimeoutError."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "seqserve.server",
                *self._arguments,
                env=self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), _START_S)
        if b" ready on " not in line:
            raise RuntimeError(f"the server did not start; see {self._log}")

    async def kill(self) -> None:
        """End the process as a power cut would: SIGKILL, no last words."""
        assert self._process is not None
        self.kills += 1
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def revive(self) -> None:
        """Start a process if none runs."""
        if self._process is None or self._process.returncode is not None:
            await self.start()

    async def stop(self) -> None:
        """End the process in peace, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


@contextlib.asynccontextmanager
async def running(models: Path, environment: Mapping[str, str], log: Path) -> AsyncIterator[Replica]:
    """A replica that runs, and is stopped at the end."""
    replica = Replica(models, environment, log)
    try:
        await replica.start()
        yield replica
    finally:
        await replica.stop()
