"""Three replicas over one Redis behind HAProxy, one killed every few seconds, and many callers who should not notice.

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

import grpc.aio

from benchmarks.loadgen.recording import Json
from seqserve.client import AsyncClient, SeqserveError
from tests.processes import replica
from tests.processes.redis_server import redis_server
from tests.processes.replica import Replica
from tests.soak import kill, scenarios
from tests.soak.scenarios import Story

PROXY = Path("deploy/haproxy.cfg")
REPLICAS = 3
_RESUME_S = 120.0
_START_S = 30.0
_BETWEEN_KILLS_S = (1.0, 3.0)


@contextlib.asynccontextmanager
async def proxy(replicas: list[Replica], log: Path) -> AsyncIterator[str]:
    """HAProxy in front of the replicas. Raises: RuntimeError if it is not installed or does not start."""
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


async def measure(requests: int, callers: int, seed: int) -> Json:
    """Serve so many requests. Returns: what the last line tells."""
    told = [Story(number, f"story-{number}") for number in range(callers)]
    failures: list[str] = []

    def answered() -> int:
        return sum(len(story.texts) for story in told)

    async def tell(client: AsyncClient, story: Story) -> None:
        try:
            await scenarios.tell(client, story, lambda: answered() < requests, _RESUME_S)
        except SeqserveError as error:
            failures.append(f"{story.session_id}: {type(error).__name__}: {error}")

    async def trouble(replicas: list[Replica]) -> None:
        chance = random.Random(seed)
        while True:
            await asyncio.sleep(chance.uniform(*_BETWEEN_KILLS_S))  # a random moment, not a wait for something
            unlucky = chance.choice(replicas)
            await unlucky.kill()
            await unlucky.start()

    with tempfile.TemporaryDirectory(prefix="seqserve-replicas-") as name, redis_server() as url:
        folder = Path(name)
        async with contextlib.AsyncExitStack() as stack:
            settings = {"SEQSERVE_SESSIONS__REDIS": url}
            replicas = [
                await stack.enter_async_context(
                    replica.running(kill.MODELS, settings, folder / f"replica-{number}.log")
                )
                for number in range(REPLICAS)
            ]
            address = await stack.enter_async_context(proxy(replicas, folder / "proxy.log"))
            client = await stack.enter_async_context(AsyncClient(address, resume_s=_RESUME_S))
            killer = asyncio.create_task(trouble(replicas))
            try:
                await asyncio.gather(*(tell(client, story) for story in told))
            finally:
                killer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await killer
            for each in replicas:
                await each.revive()
            lost = await kill.lost(client, told)
        async with (
            replica.running(kill.MODELS, {}, folder / "peace.log") as server,
            AsyncClient(server.address) as peace,
        ):
            differing = await scenarios.differing(peace, told)
    for failure in failures:
        print(failure, file=sys.stderr)
    return {
        "requests": answered(),
        "failed": len(failures),
        "lost": lost,
        "doubled": sum(story.doubled for story in told),
        "missing": sum(story.missing for story in told),
        "differing": differing,
        "resumed": sum(story.resumed for story in told),
        "kills": sum(each.kills for each in replicas),
        "callers": callers,
        "seed": seed,
    }


def main(argv: Sequence[str]) -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak replicas", description="Kill replicas behind a proxy.")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    print(json.dumps(asyncio.run(measure(given.requests, given.callers, given.seed))))
