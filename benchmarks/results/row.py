"""What a row of the results is: a figure to reach, how it is measured, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.harness import machine
from benchmarks.loadgen.recording import Json


@dataclass(frozen=True)
class Outcome:
    """What a row gave.

    Attributes:
        table: lines of figures by column name, in the order to be shown.
        reached: what of the row's target was reached, as a person would say it.
        passed: whether all of the target was.
        commands: what was run, with DATA for the folder of the data sets and OUT for one of the reader's own.
        cpu_s: seconds of processor time of all commands together.
        parity: greatest difference of logits between torch and ONNX Runtime over all exports; None without an export.
        notes: what a reader has to know besides.
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
    """One row: its name (that of its file), its title, what is to be reached, what others reached, and the measurement.

    ``measure`` takes the folder of the data sets and an empty folder to work in.
    """

    name: str
    title: str
    target: str
    reference: str
    measure: Callable[[Path, Path], Outcome]


def keep(row: Row, outcome: Outcome, folder: Path) -> None:
    """Write what a row gave, and where it was measured."""
    content = asdict(outcome) | {"machine": machine.machine(), "versions": machine.versions()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{row.name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def kept(row: Row, folder: Path) -> Outcome | None:
    """What a row gave when it was last measured; None if it never was."""
    path = folder / f"{row.name}.json"
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(**{name: value for name, value in content.items() if name not in ("machine", "versions")})
