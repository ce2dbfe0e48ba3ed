"""Mutated requests of every method and in both directions of streams, and a canary whose answer may never change.

    python -m tests.soak fuzz --count 20000

Fails if a call ends with INTERNAL or UNKNOWN or is refused without a reason, if the answer of the canary changes, if
the health check fails, or if the server's memory grows. The last line is JSON; each fault shows the arguments of
the soak command `call` that reproduce it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak.mutations import Mutator
from tests.soak.random_requests import RequestSource
from tests.soak.requests import report_and_exit
from tests.soak.run import Conversation, Report, run, soak_server

DEADLINE_S = 10.0  # a mutation may ask for a million tokens


async def measure(count: int, seed: int, folder: Path) -> Report:
    """Makes ``count`` mutated calls on a new server whose files are in ``folder``."""
    source, mutator = RequestSource(seed), Mutator(seed)

    def draw() -> Conversation:
        return Conversation(*mutator.mutate(*source.draw()))

    async with soak_server(folder) as server:
        return await run(server, count, draw, on_response=source.take_response, deadline_s=DEADLINE_S)


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak fuzz", description="Send mutated requests.")
    parser.add_argument("--count", type=int, default=20_000, help="number of calls (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the requests and mutations (%(default)s)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="seqserve-soak-") as folder:
        report = asyncio.run(measure(arguments.count, arguments.seed, Path(folder)))
    report_and_exit(report)
