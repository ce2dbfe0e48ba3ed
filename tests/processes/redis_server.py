"""A real redis-server for tests: on a free port, in memory only, stopped at the end."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

_READY = "Ready to accept connections"
_STARTS_MAX = 5
_STOP_S = 10.0


def redis_program() -> str | None:
    """Returns the path of redis-server; None if it is not installed."""
    return shutil.which("redis-server")


@contextlib.contextmanager
def redis_server(*options: str) -> Iterator[str]:
    """Runs a redis-server until the block ends.

    Args:
        *options: Further configuration, as on its command line: "--maxmemory", "10mb".

    Yields:
        Its URL.

    Raises:
        FileNotFoundError: redis-server is not installed.
        RuntimeError: It does not start.
    """
    with tempfile.TemporaryDirectory(prefix="seqserve-redis-") as folder:
        process, port = _start(folder, options)
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.communicate(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _start(folder: str, options: tuple[str, ...]) -> tuple[subprocess.Popen[str], int]:
    """Starts the process. Returns it and its port once it answers; retries if another program takes the port."""
    program = redis_program()
    if program is None:
        raise FileNotFoundError("redis-server is not installed; on Debian and Ubuntu: apt-get install redis-server")
    output = ""
    for _ in range(_STARTS_MAX):
        port = _free_port()
        address = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        process = subprocess.Popen(
            [program, *address, "--save", "", "--appendonly", "no", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if _READY in line:
                return process, port
        process.communicate()
    raise RuntimeError(f"redis-server does not start: {output}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
