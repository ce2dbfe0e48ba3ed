"""Kill -9 of the server at random moments, with sessions in progress.

    python -m tests.soak kill --store sqlite --kills 200
    python -m tests.soak kill --store redis --kills 200

Every session runs a scenario whose course is known beforehand. After each restart, every acknowledged session has to
exist, at or after the position that its caller knows. At the end all answers are compared with those of a server that
nobody killed. The last line is JSON: kills, sessions, lost, doubled, missing, differing.
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
from typing import Any

from seqserve.client import AsyncClient, SessionNotFoundError
from tests.processes import replica
from tests.processes.redis_server import redis_server
from tests.soak.scenarios import Scenario, count_differing, play, scenarios

MODELS = Path("models")
STORES = ("sqlite", "redis")
_RESUME_S = 120.0
_ALIVE_S = (0.0, 0.6)  # how long a server lives after it was ready


@contextlib.contextmanager
def store_settings(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yields the settings of a server with a new store.

    Args:
        kind: One of STORES; a Redis runs until the block ends.
        folder: Where SQLite keeps its file.
    """
    if kind == "sqlite":
        yield {"SEQSERVE_SESSIONS__PATH": str(folder / "sessions.db")}
    else:
        with redis_server() as url:
            yield {"SEQSERVE_SESSIONS__REDIS": url}


async def count_lost(client: AsyncClient, played: list[Scenario]) -> int:
    """Counts the acknowledged sessions that do not exist or are behind the position that they acknowledged."""
    count = 0
    for scenario in played:
        acknowledged = scenario.position
        if not acknowledged:
            continue
        try:
            count += (await client.sessions.get(scenario.session_id)).position < acknowledged
        except SessionNotFoundError:
            count += 1
    return count


async def measure(kind: str, kills: int, sessions: int, seed: int) -> dict[str, Any]:
    """Kills a server ``kills`` times.

    Args:
        kind: The store of the sessions, one of STORES.
        kills: Number of kills, each followed by a restart.
        sessions: Sessions in progress at a time.
        seed: Decides the moments of the kills.

    Returns:
        The JSON object of the last line.
    """
    chance = random.Random(seed)
    played = scenarios(sessions)
    lost = 0
    proceed = True
    with tempfile.TemporaryDirectory(prefix="seqserve-kill-") as name:
        folder = Path(name)
        with store_settings(kind, folder) as settings:
            async with (
                replica.running(MODELS, settings, folder / "server.log") as server,
                AsyncClient(server.address, resume_s=_RESUME_S) as client,
                asyncio.TaskGroup() as group,
            ):
                await client.health()  # an address that never answered fails at once
                for scenario in played:
                    group.create_task(play(client, scenario, lambda: proceed, _RESUME_S))
                for done in range(1, kills + 1):
                    await asyncio.sleep(chance.uniform(*_ALIVE_S))  # a random moment, not a wait for something
                    await server.kill()
                    await server.start()
                    lost += await count_lost(client, played)
                    if done % 20 == 0:
                        print(f"{done} kills, {sum(len(s.texts) for s in played)} requests", file=sys.stderr)
                proceed = False
        async with (
            replica.running(MODELS, {}, folder / "undisturbed.log") as server,
            AsyncClient(server.address) as client,
        ):
            differing = await count_differing(client, played)
    return {
        "kills": kills,
        "sessions": sessions,
        "lost": lost,
        "doubled": sum(scenario.doubled for scenario in played),
        "missing": sum(scenario.missing for scenario in played),
        "differing": differing,
        "requests": sum(len(scenario.texts) for scenario in played),
        "resumed": sum(scenario.resumed for scenario in played),
        "store": kind,
        "seed": seed,
    }


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak kill", description="Kill a server at random moments.")
    parser.add_argument("--store", choices=STORES, default="sqlite", help="session store (%(default)s)")
    parser.add_argument("--kills", type=int, default=200, help="number of kills (%(default)s)")
    parser.add_argument("--sessions", type=int, default=8, help="sessions in progress at a time (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills (%(default)s)")
    arguments = parser.parse_args(argv)
    print(json.dumps(asyncio.run(measure(arguments.store, arguments.kills, arguments.sessions, arguments.seed))))
