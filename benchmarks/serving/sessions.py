"""What sessions cost: tokens/s with one a request, bytes of a snapshot, export and import, a million in a file.

    python -m benchmarks sessions                      all of it; some 15 minutes
    python -m benchmarks sessions --count 20000        the same with fewer sessions in the file

The last line is JSON. `session_over_plain_memory` and `_sqlite`: tokens/s of 64 callers whose every request creates a
session and leaves its state there, over those of 64 callers who want none, in turns on the same machine.
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
LOOKS = 5_000  # random reads of the full file
EXPORTS = 200
GRACE_S = 3600.0


def cost(folder: Path, rounds: int, seconds: float) -> Json:
    """Tokens/s with and without a session a request, round by round; medians of the ratios within a round."""
    ratios: dict[str, list[float]] = {"memory": [], "sqlite": []}
    for number in range(rounds):
        for kind, found in ratios.items():
            with tempfile.TemporaryDirectory(prefix="seqserve-sessions-") as name:
                room = {"SEQSERVE_SESSIONS__BYTES_MAX": str(4 << 30)}
                settings = room if kind == "memory" else {"SEQSERVE_SESSIONS__PATH": str(Path(name) / "sessions.db")}
                with servers.start_server("seqserve", folder, settings) as process:
                    load = Load("closed", process.address, process.pid, callers=CALLERS, seconds=seconds)
                    pair = [load, replace(load, in_sessions=True, seed=1)]
                    order = pair if number % 2 else pair[::-1]  # who comes first is slower: the server is new
                    rates = {each.in_sessions: run_load(each)["tokens_s"] for each in order}
            found.append(rates[True] / rates[False])
            print(f"{kind}: {rates[False]:.0f} tokens/s, with sessions {rates[True]:.0f}", file=sys.stderr)
    return {f"session_over_plain_{kind}": statistics.median(found) for kind, found in ratios.items()}


async def snapshots(address: str, state_bytes: int) -> Json:
    """Bytes of a snapshot after some hundred tokens, and how long export and import take."""
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
    """Make so many sessions out of one. Returns: rates, the size of the file, random reads, expiry."""
    found: Json = {"sessions": count}
    store = SqliteStore(path, grace_s=GRACE_S)
    records = (replace(sample, key=SessionKey(f"user-{n % 1000}", f"s{n}"), ttl_s=1e6) for n in range(count))
    found["creates_s"] = count / await _spent_s(store.create(record) for record in records)
    keys = [SessionKey(f"user-{n % 1000}", f"s{n}") for n in range(0, count, max(1, count // LOOKS))]
    found["reads_s"] = len(keys) / await _spent_s(store.read(key) for key in keys)
    await store.close()
    return found


async def expire(path: Path, count: int) -> Json:
    """Let a tenth of a year pass, and sweep."""
    later_s = time.time() + 2e6
    store = SqliteStore(path, grace_s=GRACE_S, now=lambda: later_s)
    start_s, expired = time.perf_counter(), 0
    while found := await store.sweep():
        expired += found
    spent_s = time.perf_counter() - start_s
    await store.close()
    return {"expired": expired, "expiries_s": expired / spent_s, "all_expired": expired == count}


async def _spent_s(calls: Iterator[Awaitable[object]]) -> float:
    """Seconds that it takes to make all calls, some at a time."""
    start_s = time.perf_counter()

    async def worker() -> None:
        for call in calls:
            await call

    await asyncio.gather(*(worker() for _ in range(AT_A_TIME)))
    return time.perf_counter() - start_s


async def in_front(address: str, pid: int, count: int) -> Json:
    """Memory of a server in front of the full file, before and after its sessions were used."""
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


def million(folder: Path, count: int) -> Json:
    """Many sessions of the small model in one file, and a server in front of it."""
    with tempfile.TemporaryDirectory(prefix="seqserve-million-") as name:
        path = Path(name) / "sessions.db"
        settings = {"SEQSERVE_SESSIONS__PATH": str(path)}
        with servers.start_server("seqserve", folder, settings) as process:
            asyncio.run(_one_session(process.address))
        found = asyncio.run(fill(path, asyncio.run(_read_sample(path)), count))
        found["file_bytes_per_session"] = path.stat().st_size / count
        with servers.start_server("seqserve", folder, settings) as process:
            found |= asyncio.run(in_front(process.address, process.pid, count))
        return found | asyncio.run(expire(path, count + 1))


def main(argv: Sequence[str]) -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sessions", description="What sessions cost.")
    parser.add_argument("--count", type=int, default=1_000_000, help="sessions in the file (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of tokens/s with and without (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement of tokens/s (%(default)s)")
    given = parser.parse_args(argv)
    found: Json = {}
    with tempfile.TemporaryDirectory(prefix="seqserve-bench-") as name:
        for spec in (LARGE, SMALL):
            folder = Path(name) / spec.cell
            model.build(folder, spec)
            tensors = spec.layers * (2 if spec.cell == "lstm" else 1)
            with servers.start_server("seqserve", folder) as process:
                sizes = asyncio.run(snapshots(process.address, 4 * tensors * spec.hidden))
            found |= {f"{key}_{spec.cell}": value for key, value in sizes.items()}
        found |= cost(Path(name) / LARGE.cell, given.rounds, given.seconds)
        found |= million(Path(name) / SMALL.cell, given.count)
    for key, value in found.items():
        print(f"{key:32} {value:.4g}" if isinstance(value, float) else f"{key:32} {value}", file=sys.stderr)
    print(json.dumps(found | {"machine": machine.machine(), "versions": machine.versions()}))
