"""The cost of sessions: throughput with a session per request, size of a snapshot, a million sessions in a file.

    python -m benchmarks sessions                      everything; about 15 minutes
    python -m benchmarks sessions --count 20000        with fewer sessions in the file

The last line is JSON. `session_over_plain_memory` and `_sqlite`: tokens/s of 64 callers whose requests each create a
session and leave their state there, relative to 64 callers without sessions; both alternate on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import machine, model, processes, servers
from benchmarks.harness.model import ModelSpec
from benchmarks.loadgen.load import Load
from benchmarks.loadgen.process import run_load
from benchmarks.loadgen.recording import Json
from seqserve.client import AsyncClient
from seqserve.server.stores.sqlite import SqliteStore
from seqserve.server.stores.store import Record, SessionKey

LARGE, SMALL = ModelSpec("lstm", 512, 2), ModelSpec("gru", 256, 2)
CALLERS, TOKENS, ROUNDS = 64, 300, 6
AT_A_TIME = 256  # operations on the store
READS = 5_000  # random reads of the full file
EXPORTS = 200
GRACE_S = 3600.0


def measure_cost(folder: Path, rounds: int, seconds: float) -> Json:
    """Measures tokens/s with and without a session per request. Returns the medians of the ratios within a round."""
    ratios: dict[str, list[float]] = {"memory": [], "sqlite": []}
    for number in range(rounds):
        for kind, values in ratios.items():
            with tempfile.TemporaryDirectory(prefix="seqserve-sessions-") as name:
                size = {"SEQSERVE_SESSIONS__BYTES_MAX": str(4 << 30)}
                settings = size if kind == "memory" else {"SEQSERVE_SESSIONS__PATH": str(Path(name) / "sessions.db")}
                with servers.start_server("seqserve", folder, settings) as process:
                    load = Load("closed", process.address, process.pid, callers=CALLERS, seconds=seconds)
                    pair = [load, replace(load, in_sessions=True, seed=1)]
                    order = pair if number % 2 else pair[::-1]  # the first load is slower: the server is new
                    rates = {each.in_sessions: run_load(each)["tokens_s"] for each in order}
            values.append(rates[True] / rates[False])
            print(f"{kind}: {rates[False]:.0f} tokens/s, with sessions {rates[True]:.0f}", file=sys.stderr)
    return {f"session_over_plain_{kind}": statistics.median(values) for kind, values in ratios.items()}


async def measure_snapshots(address: str, state_bytes: int) -> Json:
    """Measures the size of a snapshot after some hundred tokens, and the time of export and import."""
    async with AsyncClient(address) as client, client.session(model.NAME) as session:
        await session.generate("The state belongs to its user", max_tokens=TOKENS, seed=1).text()
        snapshot = await session.export()

        async def restore() -> None:
            async with await client.sessions.restore(snapshot):
                pass

        return {
            "snapshot_bytes": len(snapshot),
            "state_bytes": state_bytes,
            "snapshot_allowed_bytes": int(1.1 * state_bytes + 512),
            "export_ms": await _median_ms(session.export),
            "import_and_delete_ms": await _median_ms(restore),
        }


async def _median_ms(call: Callable[[], Awaitable[object]]) -> float:
    times: list[float] = []
    for _ in range(EXPORTS):
        start_s = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start_s)
    return 1e3 * statistics.median(times)


async def fill(path: Path, sample: Record, count: int) -> Json:
    """Creates ``count`` sessions from a sample. Returns the rates of creation and of random reads."""
    result: Json = {"sessions": count}
    store = SqliteStore(path, grace_s=GRACE_S)
    records = (replace(sample, key=SessionKey(f"user-{n % 1000}", f"s{n}"), ttl_s=1e6) for n in range(count))
    result["creates_s"] = count / await _spent_s(store.create(record) for record in records)
    keys = [SessionKey(f"user-{n % 1000}", f"s{n}") for n in range(0, count, max(1, count // READS))]
    result["reads_s"] = len(keys) / await _spent_s(store.read(key) for key in keys)
    await store.close()
    return result


async def expire(path: Path, count: int) -> Json:
    """Sweeps the store at a time 2 million seconds later, when all sessions have expired."""
    later_s = time.time() + 2e6
    store = SqliteStore(path, grace_s=GRACE_S, now=lambda: later_s)
    start_s, expired = time.perf_counter(), 0
    while count_swept := await store.sweep():
        expired += count_swept
    spent_s = time.perf_counter() - start_s
    await store.close()
    return {"expired": expired, "expiries_s": expired / spent_s, "all_expired": expired == count}


async def _spent_s(calls: Iterator[Awaitable[object]]) -> float:
    """Measures the seconds that all calls take, AT_A_TIME of them concurrently."""
    start_s = time.perf_counter()

    async def worker() -> None:
        for call in calls:
            await call

    await asyncio.gather(*(worker() for _ in range(AT_A_TIME)))
    return time.perf_counter() - start_s


async def measure_server(address: str, pid: int, count: int) -> Json:
    """Measures the memory of a server on the full file before and after sessions are used."""
    before_mib = processes.rss_mib(pid)
    for user in range(0, 1000, 10):
        async with AsyncClient(address, principal=f"user-{user}") as client:
            numbers = list(range(user, count, 1000))[:20]
            for number in numbers:
                session = await client.sessions.open(f"s{number}")
                await session.generate(max_tokens=5, seed=number).text()
    return {"server_rss_mib": processes.rss_mib(pid), "server_rss_growth_mib": processes.rss_mib(pid) - before_mib}


async def _one_session(address: str) -> None:
    async with AsyncClient(address) as client, client.session(model.NAME, "sample") as session:
        await session.generate("A sample", max_tokens=TOKENS, seed=1).text()


async def _read_sample(path: Path) -> Record:
    store = SqliteStore(path, grace_s=GRACE_S)
    record = await store.read(SessionKey("", "sample"))
    await store.close()
    assert record is not None
    return record


def measure_million(folder: Path, count: int) -> Json:
    """Measures many sessions of the small model in one file, and a server on that file."""
    with tempfile.TemporaryDirectory(prefix="seqserve-million-") as name:
        path = Path(name) / "sessions.db"
        settings = {"SEQSERVE_SESSIONS__PATH": str(path)}
        with servers.start_server("seqserve", folder, settings) as process:
            asyncio.run(_one_session(process.address))
        result = asyncio.run(fill(path, asyncio.run(_read_sample(path)), count))
        result["file_bytes_per_session"] = path.stat().st_size / count
        with servers.start_server("seqserve", folder, settings) as process:
            result |= asyncio.run(measure_server(process.address, process.pid, count))
        return result | asyncio.run(expire(path, count + 1))


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sessions", description="Measure the cost of sessions.")
    parser.add_argument("--count", type=int, default=1_000_000, help="sessions in the file (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of tokens/s with and without (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="per measurement of tokens/s (%(default)s)")
    arguments = parser.parse_args(argv)
    figures: Json = {}
    with tempfile.TemporaryDirectory(prefix="seqserve-bench-") as name:
        for spec in (LARGE, SMALL):
            folder = Path(name) / spec.cell
            model.build(folder, spec)
            tensors = spec.layers * (2 if spec.cell == "lstm" else 1)
            with servers.start_server("seqserve", folder) as process:
                sizes = asyncio.run(measure_snapshots(process.address, 4 * tensors * spec.hidden))
            figures |= {f"{key}_{spec.cell}": value for key, value in sizes.items()}
        figures |= measure_cost(Path(name) / LARGE.cell, arguments.rounds, arguments.seconds)
        figures |= measure_million(Path(name) / SMALL.cell, arguments.count)
    for key, value in figures.items():
        print(f"{key:32} {value:.4g}" if isinstance(value, float) else f"{key:32} {value}", file=sys.stderr)
    print(json.dumps(figures | {"machine": machine.machine(), "versions": machine.versions()}))
