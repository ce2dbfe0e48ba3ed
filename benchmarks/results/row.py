"""A row of the results: a figure with its target, its measurement, and the outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.harness import machine
from benchmarks.loadgen.recording import Json


@dataclass(frozen=True)
class Outcome:
    """The outcome of a row.

    Attributes:
        table: Lines of figures by column name, in the order of the page.
        reached: The reached figures as text.
        passed: Whether the whole target was reached.
        commands: The commands, with DATA for the folder of the data sets and OUT for an output folder.
        cpu_s: Processor time of all commands, in seconds.
        parity: Maximum difference of logits between torch and ONNX Runtime over all exports; None without an export.
        notes: Additional remarks for readers.
    """

    table: list[Json]
    reached: str
    passed: bool
    commands: list[str]
    cpu_s: float
    parity: float | None = None
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Row:
    """A row of the results.

    Attributes:
        name: Name of the row and of its file.
        title: One line for the page.
        target: The figures to reach.
        reference: Figures of other implementations.
        measure: Measures the row, given the folder of the data sets and an empty work folder.
    """

    name: str
    title: str
    target: str
    reference: str
    measure: Callable[[Path, Path], Outcome]


def save_outcome(row: Row, outcome: Outcome, folder: Path) -> None:
    """Writes the outcome of a row and the machine that measured it."""
    content = asdict(outcome) | {"machine": machine.machine(), "versions": machine.versions()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{row.name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_outcome(row: Row, folder: Path) -> Outcome | None:
    """Reads the last outcome of a row; None if it was never measured."""
    path = folder / f"{row.name}.json"
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(**{name: value for name, value in content.items() if name not in ("machine", "versions")})
