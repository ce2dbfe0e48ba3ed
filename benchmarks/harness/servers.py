"""Servers and servables for measurements: seqserve itself and the baselines, each in a separate process."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.harness import model
from benchmarks.harness.processes import ServerProcess, running

OUTPUT = Path("build/bench")
SERVERS = ("seqserve", "naive", "naive-tagger", "echo")


@contextlib.contextmanager
def start_server(kind: str, models: Path, settings: Mapping[str, str] | None = None) -> Iterator[ServerProcess]:
    """Runs a server on a free port until the block ends.

    Args:
        kind: One of SERVERS.
        models: Model repository; the naive servers serve the newest version of one of its models.
        settings: Environment variables for seqserve, in addition to those of this process.

    Yields:
        The server's process and address.
    """
    log = OUTPUT / f"{kind}.log"
    if kind == "echo":
        with running("benchmarks", ["echo"], log) as process:
            yield process
    elif kind.startswith("naive"):
        servable = newest_version(models, model.TAGGER if kind == "naive-tagger" else model.NAME)
        with running("benchmarks", ["naive", str(servable)], log) as process:
            yield process
    else:
        arguments = ["--models", str(models), "--listen", "127.0.0.1:0", "--log-level", "warning"]
        with running("seqserve.server", arguments, log, {"SEQSERVE_DRAIN_S": "0", **(settings or {})}) as process:
            yield process


@contextlib.contextmanager
def bench_servable(spec: model.ModelSpec, models: Path | None = None) -> Iterator[Path]:
    """Yields the folder of the benchmarks' language model.

    Args:
        spec: The network to build in a temporary model repository.
        models: Existing model repository to use instead.
    """
    if models is not None:
        yield newest_version(models)
        return
    with tempfile.TemporaryDirectory(prefix="seqserve-bench-") as folder:
        model.build(Path(folder), spec)
        yield newest_version(Path(folder))


def newest_version(models: Path, name: str = model.NAME) -> Path:
    """Returns the folder of the newest version of a model in a model repository."""
    return max((models / name).iterdir(), key=lambda version: int(version.name))
