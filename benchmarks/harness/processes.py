"""Processes under measurement: start a server, wait until it is ready, read its resource use from /proc."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS_S = os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
_STOP_S = 20.0
_READY = re.compile(r" ready on (\S+)")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server.

    Attributes:
        pid: Process id.
        address: HOST:PORT.
    """

    pid: int
    address: str


@contextlib.contextmanager
def running(
    module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Runs ``python -m module`` until the block ends.

    Args:
        module: A program that prints one line with "ready on ADDRESS".
        arguments: Its arguments.
        log: File for its standard error.
        environment: Additional environment variables.

    Raises:
        RuntimeError: The program ended before it was ready; its output is in ``log``.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            ready = _READY.search(line)
            if ready is None:
                raise RuntimeError(f"{module} did not start: {line or log.read_text(encoding='utf-8')}")
            yield ServerProcess(process.pid, ready[1])
        finally:
            process.terminate()
            try:
                process.communicate(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def cpu_s(pid: int) -> float:
    """Returns the user and system time of all threads of a process since its start, in seconds (resolution 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S


def thread_cpu_s(pid: int) -> dict[int, float]:
    """Returns the processor time of each running thread, by thread id, in seconds; ``pid`` is the main thread."""
    times: dict[int, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread ended meanwhile
            times[int(task.name)] = int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    return times


def rss_mib(pid: int) -> float:
    """Returns the resident memory of a process, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_MIB
