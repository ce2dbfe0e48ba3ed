"""A whole run: train, judge, keep; and from a checkpoint to a proven servable."""

# pyright: reportUnknownMemberType=false
# torch's annotations leave the argument of manual_seed open.

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import torch
from google.protobuf import json_format
from tokenizers import Tokenizer

from seqserve.training import checkpoint as checkpoints
from seqserve.training.checkpoint import Checkpoint
from seqserve.training.config import TrainingConfig
from seqserve.training.errors import ExportError
from seqserve.training.evaluate import UNITS
from seqserve.training.export import parity, servable
from seqserve.training.export.graph import OPSET
from seqserve.training.loop import fit
from seqserve.training.progress import Watcher
from seqserve.training.record import training_record
from seqserve.training.runner import GraphRunner
from seqserve.training.tasks.registry import TASK_NAMES, TASKS
from seqserve.training.tasks.task import ConfigT, Task, TaskLearner
from seqserve.v1 import manifest_pb2

MANIFEST_FORMAT = 1
CHECKPOINT_FILE = "best.pt"


def train(
    task: Task[ConfigT],
    config: ConfigT,
    *,
    command: str,
    folder: Path,
    watching: Callable[[int], AbstractContextManager[Watcher]],
) -> Path:
    """Train a model and keep the best checkpoint.

    Args:
        task: what to train.
        config: how; equal configurations on equal machines give equal weights.
        command: the command that a person would type, for the record.
        folder: where the checkpoint is written.
        watching: given the number of steps, shows the progress.
    Returns: the checkpoint.
    Raises: DataError, DivergenceError, CheckpointError.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(mode=True)
    learner = task.learner(config)
    path = folder / CHECKPOINT_FILE
    start_s = time.monotonic()
    steps = config.epochs * learner.steps_per_epoch

    def keep(metrics: dict[str, float]) -> None:
        checkpoints.save(path, _checkpoint(task, config, learner, command, metrics, time.monotonic() - start_s, 0))

    with watching(steps) as watcher:
        result = fit(learner, config, keep, watcher)
    learner.network.load_state_dict(checkpoints.load(path).weights)
    final = learner.final_metrics()
    checkpoints.save(path, _checkpoint(task, config, learner, command, final, result.seconds, result.steps))
    return path


def _checkpoint(
    task: Task[ConfigT],
    config: TrainingConfig,
    learner: TaskLearner,
    command: str,
    metrics: dict[str, float],
    seconds: float,
    steps: int,
) -> Checkpoint:
    record = training_record(
        command=command,
        config=config,
        data=learner.sources,
        seconds=seconds,
        steps=steps,
        finish_time=datetime.now(UTC),
    )
    return Checkpoint(
        task=task.name,
        config=config.model_dump_json(),
        weights=learner.network.state_dict(),
        tokenizer=learner.tokenizer.to_str(),
        labels=learner.labels,
        record=json_format.MessageToJson(record, preserving_proto_field_name=True),
        metrics=metrics,
    )


def export(path: Path, out: Path) -> Path:
    """Write the next version of a model from a checkpoint, after proving its graph.

    Args:
        path: the checkpoint.
        out: the model's folder, <root>/<model>.
    Returns: the servable's folder.
    Raises: CheckpointError; ExportError if the graph differs from the network, or the servable cannot be written.
    """
    checkpoint = checkpoints.load(path)
    task = TASKS[checkpoint.task]
    config = task.config.model_validate_json(checkpoint.config)
    exportable = task.exportable(checkpoint)
    manifest, model = exportable.manifest, exportable.model
    sha256 = servable.sha256(model.graph)
    proof = parity.prove(model, exportable.reference, manifest.vocabulary, sha256)
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
            precision=manifest_pb2.PRECISION_FLOAT32,
            training=json_format.Parse(checkpoint.record, manifest_pb2.TrainingRecord()),
            metrics=[
                manifest_pb2.Metric(name=name, split="validation", value=value, unit=UNITS[name])
                for name, value in checkpoint.metrics.items()
            ],
            parity=proof,
            description=config.description,
            license=config.license,
        )
    )
    return servable.write(out, graph=model.graph, tokenizer=checkpoint.tokenizer, manifest=manifest)


def evaluate(model: Path, data: list[Path]) -> dict[str, float]:
    """Figures of a checkpoint (a file) or a servable (a folder) on data files.

    Raises: CheckpointError, ExportError, DataError.
    """
    if not model.is_dir():
        checkpoint = checkpoints.load(model)
        task = TASKS[checkpoint.task]
        exportable = task.exportable(checkpoint)
        manifest = exportable.manifest
        manifest.states.extend(exportable.model.states)
        return task.evaluate(exportable.reference, manifest, Tokenizer.from_str(checkpoint.tokenizer), data)
    manifest = servable.read_manifest(model)
    tokenizer = Tokenizer.from_file(str(model / servable.TOKENIZER_FILE))
    graph = (model / servable.GRAPH_FILE).read_bytes()
    if servable.sha256(graph) != manifest.graph.sha256:
        raise ExportError(f"{model / servable.GRAPH_FILE}: not the graph that the manifest describes: sha256 differs")
    return TASKS[TASK_NAMES[manifest.task]].evaluate(GraphRunner(graph), manifest, tokenizer, data)
