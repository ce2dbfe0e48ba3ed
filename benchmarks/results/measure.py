"""Measures rows of the results and writes the page: ``python -m benchmarks results --data DATA ROW ...``."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import page
from benchmarks.results.row import save_outcome
from benchmarks.results.rows import ROWS

RESULTS = Path("docs/results")
PAGE = Path("docs/results.md")


def main(argv: Sequence[str]) -> None:
    """Runs from the command line; writes the page after each row, so that an interruption loses no outcome."""
    by_name = {row.name: row for row in ROWS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks results", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"row to measure: {', '.join(by_name)}")
    parser.add_argument("--data", type=Path, metavar="DATA", help="folder of the data sets; required to measure")
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.rows if name not in by_name]:
        parser.error(f"unknown row {', '.join(unknown)}; rows are: {', '.join(by_name)}")
    if arguments.rows and arguments.data is None:
        parser.error("--data is required to measure a row: the folder of the data sets")
    for name in arguments.rows:
        with tempfile.TemporaryDirectory(prefix=f"results-{name}-") as work:
            save_outcome(by_name[name], by_name[name].measure(arguments.data, Path(work)), RESULTS)
        page.write(ROWS, RESULTS, PAGE)
        print(f"measured {name}; see {PAGE}", flush=True)
    page.write(ROWS, RESULTS, PAGE)
