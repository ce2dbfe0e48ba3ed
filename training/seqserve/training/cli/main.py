"""``seqserve-train``: train, export and evaluate from the command line."""

import argparse
import json
import shlex
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from seqserve.training import run
from seqserve.training.cli.arguments import add_fields, configure
from seqserve.training.cli.inspect import inspect, show
from seqserve.training.cli.logs import json_log, tensorboard_log
from seqserve.training.config.file import read_config
from seqserve.training.config.inspection import InspectionConfig
from seqserve.training.config.optimisation import Precision
from seqserve.training.errors import InterruptedRunError, TrainingError
from seqserve.training.evaluation.metrics import EvalResult
from seqserve.training.evaluation.quantization import QUALITY_LOSS_MAX, refuse_without_int8
from seqserve.training.export.servable import refuse_model
from seqserve.training.tasks.registry import TASKS
from seqserve.training.trainer.distributed import is_main_process
from seqserve.training.trainer.progress import ProgressListener, ProgressListeners, bar

PROGRAM = "seqserve-train"
RUNS = Path("runs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns: the exit status: 0, 1 for an explained error, 128 plus the signal number if a signal stopped the run.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    parsed = parser().parse_args(words)
    try:
        if parsed.command == "data":
            figures = inspect(configure(InspectionConfig, vars(parsed)))
            print(json.dumps(figures, ensure_ascii=False, indent=1)) if parsed.json else show(
                figures, Console(markup=False)
            )
        elif parsed.command == "export":
            _written(
                run.export(
                    parsed.checkpoint,
                    parsed.out,
                    precision=parsed.precision and Precision(parsed.precision),
                    data=parsed.data,
                    quality_loss_max=parsed.quality_loss_max,
                )
            )
        elif parsed.command == "evaluate":
            result = run.evaluate(parsed.model, parsed.data)
            _print_result(result, as_json=parsed.json, confusion=parsed.confusion)
        else:
            _train(parsed, shlex.join([PROGRAM, *words]))
    except TrainingError as error:
        _complain(str(error))
        return 128 + error.stop_signal if isinstance(error, InterruptedRunError) else 1
    except ValidationError as error:  # from a checkpoint or a servable; the command line is validated earlier
        message = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        _complain(f"the model was trained with settings that this version of seqserve does not have: {message}")
        return 1
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    return 0


def _train(parsed: argparse.Namespace, command: str) -> None:
    """Train, and write the servable; of several processes the first speaks and writes."""
    task = TASKS[parsed.command]
    in_file = read_config(parsed.config, task.config) if parsed.config else {}
    config = configure(task.config, vars(parsed), in_file, str(parsed.config))
    if config.precision is not Precision.INT8:
        refuse_without_int8((), parsed.quality_loss_max)
    refuse_model(parsed.out)
    folder: Path = parsed.run or RUNS / parsed.out.name

    @contextmanager
    def progress(steps: int) -> Generator[ProgressListener]:
        with ExitStack() as stack:
            watchers = [stack.enter_context(bar(Console(stderr=True), steps))]
            if parsed.log_json:
                watchers.append(stack.enter_context(json_log(parsed.log_json)))
            if parsed.tensorboard:
                watchers.append(stack.enter_context(tensorboard_log(parsed.tensorboard)))
            yield ProgressListeners(watchers)

    checkpoint = run.train(
        task,
        config,
        command=command,
        folder=folder,
        resume=parsed.resume,
        diagnose=parsed.diagnose is not None,
        progress=progress,
        notify=_notify,
    )
    if is_main_process():
        _written(run.export(checkpoint, parsed.out, quality_loss_max=parsed.quality_loss_max))


def parser() -> argparse.ArgumentParser:
    """The command line: one command a task, with the fields of its configuration as flags; export; evaluate."""
    top = argparse.ArgumentParser(prog=PROGRAM, description="Train recurrent models and write them as servables.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for task in TASKS.values():
        command = commands.add_parser(task.name, help=task.summary, description=f"{task.summary}.", allow_abbrev=False)
        command.add_argument(
            "--out", type=Path, required=True, metavar="REPO/NAME", help="Model to write a version of."
        )
        command.add_argument(
            "--run",
            "--run-dir",
            dest="run",
            type=Path,
            metavar="DIR",
            help="Folder of the checkpoints and the report. Default: runs/NAME.",
        )
        command.add_argument(
            "--config", type=Path, metavar="FILE", help="Settings in YAML or TOML; those of the command line go before."
        )
        command.add_argument("--resume", action="store_true", help="Go on with the run in the folder.")
        command.add_argument(
            "--diagnose", choices=["gradients"], help="Follow gradients back in time at validations, into the report."
        )
        _add_quality_loss(command)
        command.add_argument("--log-json", metavar="FILE", help="Add a line of JSON for every step; - is stdout.")
        command.add_argument("--tensorboard", type=Path, metavar="DIR", help="Write TensorBoard's event files there.")
        add_fields(command, task.config)
    data = commands.add_parser("data", help="look at data before training").add_subparsers(
        required=True, metavar="WHAT"
    )
    inspection = data.add_parser("inspect", help="counts, lengths, vocabulary coverage, labels", allow_abbrev=False)
    inspection.add_argument("--json", action="store_true", help="Print JSON instead of tables.")
    add_fields(inspection, InspectionConfig)
    export = commands.add_parser("export", help="write a checkpoint as a servable, with the proof that it is equal")
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    export.add_argument("--out", type=Path, required=True, metavar="REPO/NAME", help="Model to write a version of.")
    export.add_argument(
        "--precision",
        choices=[str(Precision.FP32), str(Precision.INT8)],
        help="Numbers of the servable. Default: as the training was told.",
    )
    export.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="With int8: files to measure its price on. Default: what the model was validated on.",
    )
    _add_quality_loss(export)
    evaluate = commands.add_parser("evaluate", help="figures of a checkpoint or a servable on data")
    evaluate.add_argument("model", type=Path, metavar="CHECKPOINT|SERVABLE")
    evaluate.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="Files of the task's kind. Default: what the model was validated on.",
    )
    evaluate.add_argument("--confusion", action="store_true", help="Also print which label was taken for which.")
    evaluate.add_argument(
        "--json", action="store_true", help="Print JSON, with precision, recall and F1 of each label and macro F1."
    )
    return top


def _add_quality_loss(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--quality-loss-max",
        type=float,
        metavar="VALUE",
        help="With int8: loss of quality above which nothing is written: nats of a language model's loss, else a ratio"
        f" of accuracy or F1. Default: {QUALITY_LOSS_MAX}.",
    )


def _print_result(result: EvalResult, *, as_json: bool, confusion: bool) -> None:
    """Prints the figures of an evaluation; a label that the model never predicts is reported on stderr."""
    content: dict[str, object] = {"figures": result.figures}
    if result.confusion is not None:
        labels = result.confusion.per_label()
        content |= {"macro_f1": result.confusion.macro_f1(), "labels": labels}
        predicted = {label for (_, label), count in result.confusion.counts.items() if count}
        if never := [label for label in labels if label not in predicted]:
            _notify(f"labels that the model never predicts here: {', '.join(never)}")
    if as_json:
        print(json.dumps(content, ensure_ascii=False, indent=1))
        return
    for name, value in result.figures.items():
        print(f"{name} {value:.6f}")
    if confusion and result.confusion is not None:
        print(f"\n{result.confusion.table()}")


def _notify(message: str) -> None:
    if is_main_process():
        _complain(message)


def _complain(message: str) -> None:
    """Of several processes each says what ended it: the first may be ended by another's error."""
    print(f"{PROGRAM}: {message}", file=sys.stderr)


def _written(servable: Path) -> None:
    print(f"wrote {servable}")
