"""Writes the page of results, docs/results.md, from the outcomes of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.loadgen.recording import Json
from benchmarks.results.row import Outcome, Row, load_outcome

_HEAD = """\
# Results

This page reports the accuracy of trained models on public data, on a CPU with two cores. `python -m benchmarks results
--data DATA ROW` measures rows again and writes this page; without a row it only writes the page. `DATA` is the folder
of the data sets, and `OUT` is any folder. Minutes are processor time of all commands of a row, on a machine with other
load. Parity is the maximum difference of logits between torch and ONNX Runtime over the grid of the proof. {parity}.
"""
_PARITY_TARGET = 1e-5


def write(rows: Sequence[Row], results: Path, page: Path) -> None:
    """Writes the page: a summary, then each row with its figures and commands.

    Args:
        rows: Rows in the order of the page; rows without an outcome are shown as not measured.
        results: Folder of the outcomes.
        page: The file to write.
    """
    outcomes = [(row, load_outcome(row, results)) for row in rows]
    parts = [_HEAD.format(parity=_parity(outcomes)), _table([_summary(row, outcome) for row, outcome in outcomes])]
    parts += [_section(row, outcome) for row, outcome in outcomes if outcome is not None]
    page.write_text("\n".join(parts), encoding="utf-8")


def _parity(outcomes: Sequence[tuple[Row, Outcome | None]]) -> str:
    above = [f"`{row.name}`" for row, outcome in outcomes if outcome and (outcome.parity or 0) > _PARITY_TARGET]
    rows = f"the rows above it are {', '.join(above)}" if above else "no row is above it"
    return f"The target is {_PARITY_TARGET:.0e}; {rows}"


def _summary(row: Row, outcome: Outcome | None) -> Json:
    line = {"row": f"`{row.name}`", "task": row.title, "target": row.target}
    if outcome is None:
        return line | {"reached": "not measured yet", "met": "", "parity": "", "minutes": ""}
    return line | {
        "reached": outcome.reached,
        "met": "yes" if outcome.passed else "**no**",
        "parity": "" if outcome.parity is None else f"{outcome.parity:.1e}",
        "minutes": f"{outcome.cpu_s / 60:.0f}",
    }


def _section(row: Row, outcome: Outcome) -> str:
    reference = f" Reference: {row.reference}." if row.reference else ""
    lines = [f"## {row.name}", "", f"{row.title}. Target: {row.target}.{reference}", ""]
    lines += [_table(outcome.table)]
    for note in outcome.notes:
        lines += [note, ""]
    lines += ["```", *outcome.commands, "```", ""]
    return "\n".join(lines)


def _table(lines: Sequence[Json]) -> str:
    columns = list(lines[0]) if lines else []
    rows = [columns, ["---"] * len(columns), *([_cell(line.get(column, "")) for column in columns] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
