"""A server that can be killed and restarted with the same address, settings and store."""

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
    """Returns a port that is free now, for a process that keeps it over restarts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Replica:
    """Successive server processes on one address."""

    def __init__(self, models: Path, environment: Mapping[str, str], log: Path) -> None:
        """Prepares a replica without starting it.

        Args:
            models: Model repository.
            environment: Settings as SEQSERVE_* variables.
            log: File for the standard error of the processes.
        """
        self.address = f"127.0.0.1:{free_port()}"
        self.kills = 0
        self._arguments: Sequence[str] = ("--models", str(models), "--listen", self.address, "--log-level", "warning")
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts a process and waits until it is ready.

        Raises:
            RuntimeError: The process ended before it was ready.
            TimeoutError: The process did not become ready within a minute.
        """
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
        """Ends the process like a power cut: SIGKILL."""
        assert self._process is not None
        self.kills += 1
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def revive(self) -> None:
        """Starts a process if none is running."""
        if self._process is None or self._process.returncode is not None:
            await self.start()

    async def stop(self) -> None:
        """Terminates the process if it is running."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


@contextlib.asynccontextmanager
async def running(models: Path, environment: Mapping[str, str], log: Path) -> AsyncIterator[Replica]:
    """Runs a replica until the block ends."""
    replica = Replica(models, environment, log)
    try:
        await replica.start()
        yield replica
    finally:
        await replica.stop()
