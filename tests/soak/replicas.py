"""Three replicas on one Redis behind HAProxy: one is killed every few seconds, and no caller may notice.

    python -m tests.soak replicas --requests 1000

The proxy runs deploy/haproxy.cfg. The last line is JSON: requests, failed, lost, doubled, missing, differing, kills.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio

from seqserve.client import AsyncClient, SeqserveError
from tests.processes import replica
from tests.processes.redis_server import redis_server
from tests.processes.replica import Replica
from tests.soak.kill import MODELS, count_lost
from tests.soak.scenarios import Scenario, count_differing, play, scenarios

PROXY = Path("deploy/haproxy.cfg")
REPLICAS = 3
_RESUME_S = 120.0
_START_S = 30.0
_BETWEEN_KILLS_S = (1.0, 3.0)


@contextlib.asynccontextmanager
async def proxy(replicas: list[Replica], log: Path) -> AsyncIterator[str]:
    """HAProxy in front of the replicas.

    Raises:
        RuntimeError: HAProxy is not installed.
        TimeoutError: HAProxy does not start.
    """
    program = shutil.which("haproxy")
    if program is None:
        raise RuntimeError("haproxy is not installed; on Debian and Ubuntu: apt-get install haproxy")
    address = f"127.0.0.1:{replica.free_port()}"
    names = {f"SEQSERVE_REPLICA_{number}": each.address for number, each in enumerate(replicas, 1)}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program,
            "-db",
            "-f",
            str(PROXY),
            env={**os.environ, **names, "SEQSERVE_LISTEN": address},
            stdout=output,
            stderr=output,
        )
    try:
        async with asyncio.timeout(_START_S), grpc.aio.insecure_channel(address) as channel:
            await channel.channel_ready()
        yield address
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def measure(requests: int, callers: int, seed: int) -> dict[str, Any]:
    """Sends at least ``requests`` requests while replicas are killed.

    Args:
        requests: Number of requests, all callers together.
        callers: Concurrent callers, each with a session.
        seed: Decides the moments of the kills and their victims.

    Returns:
        The JSON object of the last line.
    """
    played = scenarios(callers)
    failures: list[str] = []

    def answered() -> int:
        return sum(len(scenario.texts) for scenario in played)

    async def run(client: AsyncClient, scenario: Scenario) -> None:
        try:
            await play(client, scenario, lambda: answered() < requests, _RESUME_S)
        except SeqserveError as error:
            failures.append(f"{scenario.session_id}: {type(error).__name__}: {error}")

    async def kill_replicas(replicas: list[Replica]) -> None:
        chance = random.Random(seed)
        while True:
            await asyncio.sleep(chance.uniform(*_BETWEEN_KILLS_S))  # a random moment, not a wait for something
            victim = chance.choice(replicas)
            await victim.kill()
            await victim.start()

    with tempfile.TemporaryDirectory(prefix="seqserve-replicas-") as name, redis_server() as url:
        folder = Path(name)
        async with contextlib.AsyncExitStack() as stack:
            settings = {"SEQSERVE_SESSIONS__REDIS": url}
            replicas = [
                await stack.enter_async_context(replica.running(MODELS, settings, folder / f"replica-{number}.log"))
                for number in range(REPLICAS)
            ]
            address = await stack.enter_async_context(proxy(replicas, folder / "proxy.log"))
            client = await stack.enter_async_context(AsyncClient(address, resume_s=_RESUME_S))
            killer = asyncio.create_task(kill_replicas(replicas))
            try:
                await asyncio.gather(*(run(client, scenario) for scenario in played))
            finally:
                killer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await killer
            for each in replicas:
                await each.revive()
            lost = await count_lost(client, played)
        async with (
            replica.running(MODELS, {}, folder / "undisturbed.log") as server,
            AsyncClient(server.address) as undisturbed,
        ):
            differing = await count_differing(undisturbed, played)
    for failure in failures:
        print(failure, file=sys.stderr)
    return {
        "requests": answered(),
        "failed": len(failures),
        "lost": lost,
        "doubled": sum(scenario.doubled for scenario in played),
        "missing": sum(scenario.missing for scenario in played),
        "differing": differing,
        "resumed": sum(scenario.resumed for scenario in played),
        "kills": sum(each.kills for each in replicas),
        "callers": callers,
        "seed": seed,
    }


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak replicas", description="Kill replicas behind a proxy.")
    parser.add_argument("--requests", type=int, default=1000, help="requests, all callers together (%(default)s)")
    parser.add_argument("--callers", type=int, default=32, help="concurrent callers (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the kills (%(default)s)")
    arguments = parser.parse_args(argv)
    print(json.dumps(asyncio.run(measure(arguments.requests, arguments.callers, arguments.seed))))
