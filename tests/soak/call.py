"""Repeats one call of a report of `requests` or `fuzz` on a new server, and prints its outcome.

python -m tests.soak call Generate 0a04
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc.aio

from tests.soak.run import soak_server
from tests.soak.wire import METHODS, Caller, Outcome


async def repeat(name: str, messages: Sequence[bytes]) -> tuple[Outcome, str]:
    """Makes one call. Returns its outcome and the log of the server."""
    with tempfile.TemporaryDirectory(prefix="seqserve-soak-") as folder:
        async with soak_server(Path(folder)) as server, grpc.aio.insecure_channel(server.address) as channel:
            outcome = await Caller(channel).call(METHODS[name], messages)
        return outcome, (Path(folder) / "server.log").read_text(encoding="utf-8")


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak call", description="Repeat one call of a report.")
    parser.add_argument("name", choices=METHODS, metavar="METHOD", help="name of the method, such as Generate")
    parser.add_argument("messages", nargs="*", type=bytes.fromhex, metavar="HEX", help="serialized requests")
    arguments = parser.parse_args(argv)
    outcome, log = asyncio.run(repeat(arguments.name, arguments.messages))
    print(log)
    summary = {"code": outcome.code.name, "message": outcome.message, "reason": outcome.reason}
    print(json.dumps(summary | {"responses": len(outcome.responses), "fault": outcome.fault}))
