"""The front door of the benchmarks: ``python -m benchmarks NAME [options]``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

PROGRAM = "python -m benchmarks"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the front door.

    Attributes:
        module: The module whose ``main(argv)`` runs it; imported only then, because some import torch.
        summary: One line for the list of commands.
    """

    module: str
    summary: str


COMMANDS = {
    "suite": Command("serving.report", "All figures of the server, with their targets (make bench)"),
    "serve": Command("serving.serve", "One load on one server, and its ratio to the bare model"),
    "step": Command("serving.step", "The bare model over batch sizes and threads"),
    "tagging": Command("serving.tagging", "Whole sentences through Tag, against the bare graph"),
    "precision": Command("serving.precision", "Float32, int8, and the dynamic int8 of ONNX Runtime"),
    "long-stream": Command("serving.long_stream", "One stream of a million tokens: memory and speed"),
    "sessions": Command("serving.sessions", "The cost of sessions; a million of them in one file"),
    "hostile": Command("serving.hostile", "Other callers during hostile requests: health checks and pauses"),
    "cells": Command("quality.cells", "Error and time of each recurrent cell (docs/cells.md)"),
    "lag": Command("quality.lag", "Decision lag of a CRF's online Viterbi (docs/lag.md)"),
    "lookahead": Command("quality.lookahead", "Accuracy by look-ahead (docs/lookahead.md)"),
    "results": Command("results.measure", "Accuracy on public data (docs/results.md)"),
    "training": Command("results.training_speed", "The training loop against bare torch"),
    "load": Command("loadgen.load", "The load generator alone, against any server"),
    "attack": Command("serving.attacks", "Hostile requests alone, against any server"),
    "model": Command("harness.model", "Write the servables that the benchmarks run"),
    "bare-model": Command("baselines.bare_model", "Baseline: the graph, stepped in a loop"),
    "echo": Command("baselines.echo", "Baseline: a gRPC server that echoes stream messages"),
    "naive": Command("baselines.naive", "Baseline: a server that runs the graph per token and request"),
}


def main(argv: Sequence[str]) -> None:
    """Runs the command that the first argument names; the others are its own."""
    listing = "\n".join(f"  {name:12} {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} NAME [options]",
        description="Benchmarks of seqserve. Each prints one JSON object or JSON lines.",
        epilog=f"commands:\n{listing}\n\n{PROGRAM} NAME --help describes one command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", nargs="?", choices=COMMANDS, help="the command to run")
    if not argv:
        parser.print_help()
        return
    name = parser.parse_args(argv[:1]).name
    module = importlib.import_module(f"benchmarks.{COMMANDS[name].module}")
    module.main(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
