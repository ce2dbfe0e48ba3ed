"""Kill -9 of the server at random moments, with sessions under way, and what came of them.

    python -m tests.soak kill --store sqlite --kills 200
    python -m tests.soak kill --store redis --kills 200

Every session tells a story whose course is known beforehand. After each restart every session that was acknowledged has
to be there, at or after the position that its caller knows; at the end all answers are compared with those of a server
that nobody killed. The last line is JSON: kills, sessions, lost, doubled, missing, differing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.loadgen.recording import Json
from seqserve.client import AsyncClient, SessionNotFoundError
from tests.processes import replica
from tests.processes.redis_server import redis_server
from tests.soak import scenarios
from tests.soak.scenarios import Story

MODELS = Path("models")
STORES = ("sqlite", "redis")
_RESUME_S = 120.0
_ALIVE_S = (0.0, 0.6)  # how long a server lives after it was ready


@contextlib.contextmanager
def store(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """Settings of a server with a store of its own."""
    if kind == "sqlite":
        yield {"SEQSERVE_SESSIONS__PATH": str(folder / "sessions.db")}
    else:
        with redis_server() as url:
            yield {"SEQSERVE_SESSIONS__REDIS": url}


async def lost(client: AsyncClient, told: list[Story]) -> int:
    """How many sessions that were acknowledged are gone, or have forgotten what they had acknowledged."""
    count = 0
    for story in told:
        acknowledged = story.position
        if not acknowledged:
            continue
        try:
            count += (await client.sessions.get(story.session_id)).position < acknowledged
        except SessionNotFoundError:
            count += 1
    return count


async def measure(kind: str, kills: int, sessions: int, seed: int) -> Json:
    """Kill a server so many times. Returns: what the last line tells."""
    chance = random.Random(seed)
    told = [Story(number, f"story-{number}") for number in range(sessions)]
    count_lost = 0
    goes_on = True
    with tempfile.TemporaryDirectory(prefix="seqserve-kill-") as name:
        folder = Path(name)
        with store(kind, folder) as settings:
            async with (
                replica.running(MODELS, settings, folder / "server.log") as server,
                AsyncClient(server.address, resume_s=_RESUME_S) as client,
                asyncio.TaskGroup() as group,
            ):
                await client.health()  # an address that never answered is told at once
                for story in told:
                    group.create_task(scenarios.tell(client, story, lambda: goes_on, _RESUME_S))
                for done in range(1, kills + 1):
                    await asyncio.sleep(chance.uniform(*_ALIVE_S))  # a random moment, not a wait for something
                    await server.kill()
                    await server.start()
                    count_lost += await lost(client, told)
                    if done % 20 == 0:
                        print(f"{done} kills, {sum(len(s.texts) for s in told)} requests", file=sys.stderr)
                goes_on = False
        async with replica.running(MODELS, {}, folder / "peace.log") as server, AsyncClient(server.address) as client:
            differing = await scenarios.differing(client, told)
    return {
        "kills": kills,
        "sessions": sessions,
        "lost": count_lost,
        "doubled": sum(story.doubled for story in told),
        "missing": sum(story.missing for story in told),
        "differing": differing,
        "requests": sum(len(story.texts) for story in told),
        "resumed": sum(story.resumed for story in told),
        "store": kind,
        "seed": seed,
    }


def main(argv: Sequence[str]) -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak kill", description="Kill a server at random moments.")
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=8, help="sessions under way at a time (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    print(json.dumps(asyncio.run(measure(given.store, given.kills, given.sessions, given.seed))))
