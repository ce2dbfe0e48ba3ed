"""The report of a run: a folder for people, with learning curves, figures, a sample of outputs and a model card."""

# pyright: reportUnknownMemberType=false
# matplotlib leaves some of its arguments open.

import json
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path

from google.protobuf import json_format
from matplotlib.figure import Figure

from seqserve.training.errors import CheckpointError
from seqserve.training.trainer.history import History
from seqserve.v1 import manifest_pb2

CURVES_FILE = "curves.png"
METRICS_FILE = "metrics.json"
SAMPLES_FILE = "samples.md"
CARD_FILE = "model-card.md"


def write(folder: Path, *, manifest: manifest_pb2.Manifest, history: History, samples: str) -> None:
    """Write the report.

    Args:
        folder: made if it is not there.
        manifest: manifest of the model; may lack the graph.
        history: what the run was like.
        samples: outputs of the network, as Markdown.
    Raises: CheckpointError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        curves(history).savefig(folder / CURVES_FILE, dpi=120)
        figures = {metric.name: metric.value for metric in manifest.metrics}
        content = {"final": figures, "validations": history.validations, "points": history.points}
        (folder / METRICS_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        (folder / SAMPLES_FILE).write_text(f"# Sample of outputs\n\n{samples.strip()}\n", encoding="utf-8")
        (folder / CARD_FILE).write_text(card(manifest), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{folder}: the report cannot be written: {error.strerror or error}") from error


def curves(history: History) -> Figure:
    """Loss and the figures of the validations over the steps, the norm of the gradient, and the learning rate."""
    first: dict[str, float] = history.validations[0]["metrics"] if history.validations else {}
    names = [name for name in first if name != "loss"]
    figure = Figure(figsize=(10, 7), layout="constrained")
    loss, metrics, norm, rate = figure.subplots(2, 2).flat
    steps = [point["step"] for point in history.points]
    on_validation = [validation["step"] for validation in history.validations]
    loss.plot(steps, [point["loss"] for point in history.points], label="training")
    loss.plot(on_validation, [each["metrics"]["loss"] for each in history.validations], "o-", label="validation")
    loss.set(title="loss", ylabel="nats / token")
    loss.legend()
    for name in names:
        metrics.plot(on_validation, [each["metrics"][name] for each in history.validations], "o-", label=name)
    metrics.set(title="validation")
    if names:
        metrics.legend()
    norm.plot(steps, [point["gradient_norm"] for point in history.points])
    norm.set(title="greatest norm of the gradient, before clipping", yscale="log")
    rate.plot(steps, [point["learning_rate"] for point in history.points])
    rate.set(title="learning rate")
    for axes in (loss, metrics, norm, rate):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    return figure


def card(manifest: manifest_pb2.Manifest) -> str:
    """What the model is, what it was made of and how, what it reaches, and what not to expect of it; in Markdown."""
    network, training = manifest.network, manifest.training
    task = manifest_pb2.Task.Name(manifest.task).removeprefix("TASK_").replace("_", " ").lower()
    cell = manifest_pb2.Cell.Name(network.cell).removeprefix("CELL_").replace("_", " ")
    directions = "both directions" if network.bidirectional else "one direction"
    finished = training.finish_time.ToDatetime(UTC).date().isoformat()
    limits: dict[str, object] = json_format.MessageToDict(manifest.limits, preserving_proto_field_name=True)
    return f"""# Model card: {task}

{manifest.description or "No description was given."}

- network: {network.layers} layer(s) of {network.hidden_size} {cell} units, {directions}
- parameters: {network.parameters:,}
- licence of the weights: {manifest.license or "not stated"}
- trained until {finished}: {training.steps:,} steps, {training.seconds:,.0f} s on {training.device}

## Data

| data | part | tokens | licence | sha256 |
|---|---|---|---|---|
{_lines(map(_source, training.data))}

## Figures

| figure | on | value | unit |
|---|---|---|---|
{_lines(f"| {each.name} | {each.split} | {each.value:.4f} | {each.unit} |" for each in manifest.metrics)}

The course of the training is in {CURVES_FILE} and {METRICS_FILE}, a sample of outputs in {SAMPLES_FILE}.

## Limits

The model was trained only on the data above. Its metrics don't apply to text of another kind, language, or time, and it
can reproduce errors and biases of the data.

{_lines(f"- {name}: {value}" for name, value in limits.items())}

## How to make it again

```
{training.command}
```

Versions: {", ".join(f"{name} {version}" for name, version in sorted(training.versions.items()))}.
"""


def _source(source: manifest_pb2.DataSource) -> str:
    licence, digest = source.license or "not stated", source.sha256[:12]
    return f"| {source.name} | {source.split} | {source.tokens:,} | {licence} | `{digest}` |"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)
