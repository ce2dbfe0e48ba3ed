"""Soak tests at full length: ``python -m tests.soak NAME [options]``. Each prints one JSON object."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

PROGRAM = "python -m tests.soak"
COMMANDS = {
    "kill": "Kill -9 of the only server at random moments",
    "replicas": "Kill -9 of replicas behind a proxy",
    "requests": "Random valid requests of every method",
    "fuzz": "Mutated requests of every method",
    "call": "One call of a report, to reproduce a fault",
}


def main(argv: Sequence[str]) -> None:
    """Runs the soak test that the first argument names; the others are its own."""
    listing = "\n".join(f"  {name:12} {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} NAME [options]",
        description="Soak tests of seqserve. Each prints one JSON object.",
        epilog=f"soak tests:\n{listing}\n\n{PROGRAM} NAME --help describes one soak test.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", nargs="?", choices=COMMANDS, help="the soak test to run")
    if not argv:
        parser.print_help()
        return
    name = parser.parse_args(argv[:1]).name
    importlib.import_module(f"tests.soak.{name}").main(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
