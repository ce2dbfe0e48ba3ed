"""A whole run: train, judge, keep; and from a checkpoint to a proven servable."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic

from google.protobuf import json_format
from tokenizers import Tokenizer

from seqserve.training.config.file import differences, write_config
from seqserve.training.config.optimisation import Precision
from seqserve.training.errors import CheckpointError, ConfigError, ExportError
from seqserve.training.evaluation.metrics import UNITS, EvalResult
from seqserve.training.evaluation.quantization import (
    QUALITY_LOSS_MAX,
    quantization_report,
    refuse_quality_loss,
    refuse_without_int8,
)
from seqserve.training.export import bits, parity, servable
from seqserve.training.export.graph import OPSET
from seqserve.training.export.model import Exportable
from seqserve.training.export.probes import tokenizer_probes
from seqserve.training.runner import GraphRunner
from seqserve.training.tasks.registry import TASKS, TASKS_BY_KIND
from seqserve.training.tasks.task import ConfigT, Task
from seqserve.training.trainer import checkpoint as checkpoints
from seqserve.training.trainer import report
from seqserve.training.trainer.checkpoint import Checkpoint, RunState
from seqserve.training.trainer.devices import device_of, enough_memory, prepare
from seqserve.training.trainer.diagnosis import Diagnosable, GradientMonitor
from seqserve.training.trainer.distributed import Processes, join_processes
from seqserve.training.trainer.interruption import interruption
from seqserve.training.trainer.progress import ProgressListener, ProgressListeners
from seqserve.training.trainer.record import training_record
from seqserve.training.trainer.trainer import Trainer
from seqserve.v1 import manifest_pb2, state_pb2

MANIFEST_FORMAT = 1
CHECKPOINT_FILE = "best.pt"
CONFIG_FILE = "config.yaml"
REPORT_FOLDER = "report"
RESUMABLE_SETTINGS = {
    "data",  # their content is compared by its digest
    "validation",
    "epochs",
    "patience",
    "checkpoint_every",
    "device",
    "threads",
    "description",
    "license",
    "data_name",
}
"""Settings that may change when a run resumes, because they don't affect a step."""


@enough_memory()
def train(
    task: Task[ConfigT, Any],
    config: ConfigT,
    *,
    command: str,
    folder: Path,
    resume: bool = False,
    diagnose: bool = False,
    progress: Callable[[int], AbstractContextManager[ProgressListener]],
    notify: Callable[[str], None],
) -> Path:
    """Train a model, keep the best checkpoint, and write the report.

    Args:
        task: what to train.
        config: how; equal configurations on equal machines give equal weights.
        command: the command that a person would type, for the record.
        folder: where the checkpoints, the configuration and the report are written.
        resume: go on with the run in ``folder``.
        diagnose: follow the gradients back in time at every validation, and write them into the report.
        progress: given the number of steps, shows the progress.
        notify: hears what a person should know and is no error.
    Returns: the best checkpoint; only the first of several processes writes it.
    Raises: ConfigError, DataError, DivergenceError, InterruptedRunError, CheckpointError.
    """
    device = device_of(config)
    prepare(config)
    group = join_processes(cuda=device.type == "cuda")
    run = Run(task, config, command, folder, group)
    if resume:
        run.resume(notify)
    if group.first:
        write_config(folder / CONFIG_FILE, config)
    extra = [run.gradient_monitor(notify)] if diagnose and group.first else []
    with (
        interruption() as stop_request,
        progress(run.trainer.steps) if group.first else nullcontext(ProgressListeners()) as listener,
    ):
        run.trainer.fit(
            save_best=run.save_best,
            save_state=run.save_state,
            listener=ProgressListeners([listener, *extra]),
            stop_request=stop_request,
        )
    if group.first:
        run.finish()
    return run.path


class Run(Generic[ConfigT]):
    """A learner, the loop that trains it, and the folder that both write to."""

    def __init__(
        self, task: Task[ConfigT, Any], config: ConfigT, command: str, folder: Path, processes: Processes
    ) -> None:
        self._task, self._config, self._command, self._folder = task, config, command, folder
        self._learner = task.learner(config)
        if config.batch_size < processes.share.count:
            count = processes.share.count
            raise ConfigError(
                f"{count} processes cannot share batches of {config.batch_size}: give a greater --batch-size"
            )
        processes.seed(config.seed)
        self._processes = processes
        self.trainer = Trainer(self._learner, config, processes)
        self.path = folder / CHECKPOINT_FILE

    def save_best(self, metrics: dict[str, float]) -> None:
        """Write the network as it is as the best one."""
        state = self.trainer.state
        record = training_record(
            command=self._command,
            config=self._config,
            data=self._learner.sources,
            seconds=state.seconds,
            steps=state.step,
            finish_time=datetime.now(UTC),
            device=str(self.trainer.device),
        )
        checkpoints.save(
            self.path,
            Checkpoint(
                task=self._task.name,
                config=self._config.model_dump_json(),
                weights=self._learner.network.state_dict(),
                tokenizer=self._learner.tokenizer.to_str(),
                labels=self._learner.labels,
                record=json_format.MessageToJson(record, preserving_proto_field_name=True),
                metrics=metrics,
            ),
        )

    def save_state(self) -> None:
        """Write where the run stands; every process has to take part."""
        state = RunState(self._task.name, self._config.model_dump_json(), self._digests, self.trainer.state_dict())
        self._processes.run_on_first(lambda: checkpoints.save_state(self._folder, state))

    def resume(self, notify: Callable[[str], None]) -> None:
        """Go on from the newest state in the folder.

        Raises: CheckpointError if all states are missing or damaged, or the data differ; ConfigError if settings that a
            run can't change differ.
        """
        state = checkpoints.newest_state(self._folder, notify)
        if state.task != self._task.name:
            raise CheckpointError(f"{self._folder}: a run of {state.task!r} and not of {self._task.name!r}")
        if changed := differences(state.config, self._config, RESUMABLE_SETTINGS):
            message = "; ".join(changed)
            raise ConfigError(
                f"--resume cannot change these settings: {message}. Restore their first values, or start a new run"
            )
        first = type(self._config).model_validate_json(state.config)
        if state.data != self._digests or _labels_of(first.data) != _labels_of(self._config.data):
            raise CheckpointError(
                f"{self._folder}: the data files differ from those of the run; restore them, or train without --resume"
            )
        self.trainer.load_state_dict(state.trainer)

    def gradient_monitor(self, notify: Callable[[str], None]) -> GradientMonitor:
        """What follows the gradients. Raises: ConfigError if the learner's cannot be followed."""
        if not isinstance(self._learner, Diagnosable):
            raise ConfigError(f"--diagnose gradients: those of {self._task.name!r} cannot be followed back in time yet")
        return GradientMonitor(self._learner, self._folder / REPORT_FOLDER, notify)

    def finish(self) -> None:
        """Judge the best network with care, keep its figures, and write the report."""
        self._learner.network.load_state_dict(checkpoints.load(self.path).weights)
        self._learner.network.eval()
        self.save_best(self._learner.final_metrics())
        self._learner.network.cpu()
        report.write(
            self._folder / REPORT_FOLDER,
            manifest=described(checkpoints.load(self.path)).manifest,
            history=self.trainer.history,
            samples=self._learner.samples(),
        )

    @property
    def _digests(self) -> tuple[str, ...]:
        return tuple(source.sha256 for source in self._learner.sources)


def _labels_of(data: Sequence[Path]) -> list[str]:
    """The labels that ``LABEL=PATH`` gives to whole files."""
    return [label for label, equals, _ in (str(path).partition("=") for path in data) if equals and "/" not in label]


def export(
    path: Path,
    out: Path,
    *,
    precision: Precision | None = None,
    data: Sequence[Path] = (),
    quality_loss_max: float | None = None,
) -> Path:
    """Write the next version of a model from a checkpoint, after proving its graph.

    Args:
        path: the checkpoint.
        out: the model's folder, <root>/<model>.
        precision: INT8, or any other for float32; None: as the training was told.
        data: what the price of int8 is measured on; none: the data that the model was validated on.
        quality_loss_max: the greatest price; None: QUALITY_LOSS_MAX.
    Returns: the servable's folder.
    Raises: CheckpointError; ConfigError if data or a greatest price are given for float32; ExportError if the graph
        differs from the network, if the network cannot be in int8, loses too much by it or does not keep its bits, or
        if the servable cannot be written; DataError.
    """
    checkpoint = checkpoints.load(path)
    task = TASKS[checkpoint.task]
    int8 = (precision or task.config.model_validate_json(checkpoint.config).precision) is Precision.INT8
    if not int8:
        refuse_without_int8(data, quality_loss_max)
    exportable = described(checkpoint, int8=int8)
    manifest, model = exportable.manifest, exportable.model
    sha256 = servable.sha256(model.graph)
    perturbed = bits.perturbed(exportable.reference) if int8 else None
    proof = parity.prove(model, exportable.reference, manifest.vocabulary, sha256, perturbed)
    if int8:
        bits.prove_bits(model, manifest.vocabulary)
        record, metrics = quantization_report(
            task.evaluate, Tokenizer.from_str(checkpoint.tokenizer), exportable, described(checkpoint), data
        )
        refuse_quality_loss(record, QUALITY_LOSS_MAX if quality_loss_max is None else quality_loss_max)
        manifest.ClearField("metrics")
        manifest.MergeFrom(manifest_pb2.Manifest(quantization=record, metrics=metrics))
    manifest.MergeFrom(
        manifest_pb2.Manifest(
            format_version=MANIFEST_FORMAT,
            graph=manifest_pb2.GraphFile(
                sha256=sha256,
                size_bytes=len(model.graph),
                opset=OPSET,
                tokenizer_sha256=servable.sha256(checkpoint.tokenizer.encode()),
            ),
            inputs=model.inputs,
            outputs=model.outputs,
            states=model.states,
            precision=state_pb2.PRECISION_INT8 if int8 else state_pb2.PRECISION_FLOAT32,
            parity=proof,
        )
    )
    manifest.vocabulary.probes.extend(tokenizer_probes(Tokenizer.from_str(checkpoint.tokenizer)))
    return servable.write(out, graph=model.graph, tokenizer=checkpoint.tokenizer, manifest=manifest)


def described(checkpoint: Checkpoint, *, int8: bool = False) -> Exportable:
    """Converts a checkpoint to an exportable model, with a manifest that lacks only the graph file.

    Raises: ExportError if the network cannot be in int8.
    """
    task = TASKS[checkpoint.task]
    config = task.config.model_validate_json(checkpoint.config)
    exportable = task.exportable(checkpoint, int8=int8)
    record = json_format.Parse(checkpoint.record, manifest_pb2.TrainingRecord())
    json_format.Parse(checkpoint.config, record.config)
    exportable.manifest.MergeFrom(
        manifest_pb2.Manifest(
            training=record,
            metrics=[
                manifest_pb2.Metric(name=name, split="validation", value=value, unit=UNITS[name])
                for name, value in checkpoint.metrics.items()
            ],
            description=config.description,
            license=config.license,
        )
    )
    return exportable


def evaluate(model: Path, data: Sequence[Path]) -> EvalResult:
    """Judge a checkpoint (a file) or a servable (a folder) on data files; none: on what it was validated on.

    Raises: CheckpointError, ExportError, DataError.
    """
    if not model.is_dir():
        checkpoint = checkpoints.load(model)
        task = TASKS[checkpoint.task]
        exportable = described(checkpoint)
        manifest = exportable.manifest
        manifest.states.extend(exportable.model.states)
        return task.evaluate(exportable.reference, manifest, Tokenizer.from_str(checkpoint.tokenizer), data)
    manifest = servable.read_manifest(model)
    try:
        tokenizer = Tokenizer.from_str((model / servable.TOKENIZER_FILE).read_text(encoding="utf-8"))
        graph = (model / servable.GRAPH_FILE).read_bytes()
    except OSError as error:
        raise ExportError(f"{error.filename}: cannot be read, and a servable has one: {error.strerror}") from error
    if servable.sha256(graph) != manifest.graph.sha256:
        raise ExportError(f"{model / servable.GRAPH_FILE}: not the graph that the manifest describes: sha256 differs")
    return TASKS_BY_KIND[manifest.task].evaluate(GraphRunner(graph), manifest, tokenizer, data)
