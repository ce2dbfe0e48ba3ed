"""Random valid requests of every method, and a canary whose answer may never change.

    python -m tests.soak requests --count 20000

Fails if a call ends with INTERNAL or UNKNOWN or without a reason, if the answer of the canary changes, if the health
check fails, or if the server's memory grows. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak.random_requests import RequestSource
from tests.soak.run import GROWTH_MIB_MAX, Conversation, Report, run, soak_server


async def measure(count: int, seed: int, folder: Path) -> Report:
    """Makes ``count`` random valid calls on a new server whose files are in ``folder``."""
    source = RequestSource(seed)

    def draw() -> Conversation:
        return Conversation(*source.draw())

    async with soak_server(folder) as server:
        return await run(server, count, draw, on_response=source.take_response)


def report_and_exit(report: Report) -> None:
    """Prints a report; the exit status is 1 after a fault or a growth of memory."""
    for fault in report.faults:
        print(json.dumps(fault), file=sys.stderr)
    print(json.dumps(report.as_json()))
    if report.faults or report.growth_mib > GROWTH_MIB_MAX:
        raise SystemExit(1)


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak requests", description="Send random valid requests.")
    parser.add_argument("--count", type=int, default=20_000, help="number of calls (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the requests (%(default)s)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="seqserve-soak-") as folder:
        report = asyncio.run(measure(arguments.count, arguments.seed, Path(folder)))
    for message in report.invalid:
        print(f"invalid: {message}", file=sys.stderr)
    report_and_exit(report)
