"""``seqserve-train``: train, export and evaluate from the command line."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from seqserve.training import run
from seqserve.training.arguments import add_fields, configure
from seqserve.training.errors import TrainingError
from seqserve.training.progress import bar
from seqserve.training.tasks.registry import TASKS

PROGRAM = "seqserve-train"
RUNS = Path("runs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an error that is explained, 130 if interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = parser().parse_args(given)
    console = Console(stderr=True)
    try:
        if parsed.command == "export":
            _written(run.export(parsed.checkpoint, parsed.out))
        elif parsed.command == "evaluate":
            for name, value in run.evaluate(parsed.model, parsed.data).items():
                print(f"{name} {value:.6f}")
        else:
            task = TASKS[parsed.command]
            config = configure(task.config, vars(parsed))
            folder: Path = parsed.run or RUNS / parsed.out.name
            command = shlex.join([PROGRAM, *given])
            checkpoint = run.train(task, config, command=command, folder=folder, watching=partial(bar, console))
            _written(run.export(checkpoint, parsed.out))
    except TrainingError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line: one command a task, with the fields of its configuration as flags; export; evaluate."""
    top = argparse.ArgumentParser(prog=PROGRAM, description="Train recurrent models and write them as servables.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for task in TASKS.values():
        command = commands.add_parser(task.name, help=task.summary, description=f"{task.summary}.", allow_abbrev=False)
        command.add_argument(
            "--out", type=Path, required=True, metavar="REPO/NAME", help="Model to write a version of."
        )
        command.add_argument("--run", type=Path, metavar="DIR", help="Folder of the checkpoint. Default: runs/NAME.")
        add_fields(command, task.config)
    export = commands.add_parser("export", help="write a checkpoint as a servable, with the proof that it is equal")
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    export.add_argument("--out", type=Path, required=True, metavar="REPO/NAME", help="Model to write a version of.")
    evaluate = commands.add_parser("evaluate", help="figures of a checkpoint or a servable on data")
    evaluate.add_argument("model", type=Path, metavar="CHECKPOINT|SERVABLE")
    evaluate.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="PATH", help="Files of the task's kind."
    )
    return top


def _written(servable: Path) -> None:
    print(f"wrote {servable}")


if __name__ == "__main__":
    sys.exit(main())
