"""``seqserve health``: whether a server serves."""

from __future__ import annotations

import argparse
import json

from seqserve.client._sync.client import Client
from seqserve.client.types.health import HealthStatus

EXAMPLES: str = """examples:
  seqserve health
  seqserve health seqserve.v1.TaggingService
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("service", metavar="SERVICE", nargs="?", default="", help="one service, by its full name")


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print the status; the exit code is 0 only if it is SERVING."""
    status = client.health(arguments.service)
    print(json.dumps({"status": status}) if arguments.json else status)
    return 0 if status is HealthStatus.SERVING else 1
