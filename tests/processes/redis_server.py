"""A real redis-server for measurements and tests: on a free port of this machine, in memory only, gone afterwards."""

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
    """Path of redis-server; None if it is not installed."""
    return shutil.which("redis-server")


@contextlib.contextmanager
def redis_server(*options: str) -> Iterator[str]:
    """Run a redis-server until the block ends. Yields its URL.

    Args:
        options: more of its configuration, as on its command line: "--maxmemory", "10mb".
    Raises: FileNotFoundError if it is not installed; RuntimeError if it does not start.
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
    """The process and its port, once it answers; another port if another program was faster in taking the first."""
    program = redis_program()
    if program is None:
        raise FileNotFoundError("redis-server is not installed; on Debian and Ubuntu: apt-get install redis-server")
    said = ""
    for _ in range(_STARTS_MAX):
        port = _free_port()
        where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        process = subprocess.Popen(
            [program, *where, "--save", "", "--appendonly", "no", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if _READY in line:
                return process, port
        process.communicate()
    raise RuntimeError(f"redis-server does not start: {said}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
