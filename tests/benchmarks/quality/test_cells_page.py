"""The page of cells names all of them, as the code has them, each near enough to its formula."""

import re
from pathlib import Path

import pytest

from benchmarks.quality.cells import describe, replace_table
from seqserve.training.config import CellKind

PAGE = (Path(__file__).parents[3] / "docs" / "cells.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cell", list(CellKind))
def test_a_cell_is_on_the_page_with_errors_below_1e_5(cell: CellKind) -> None:
    rows = [row for row in PAGE.splitlines() if row.startswith(describe(cell))]
    assert len(rows) == 1, f"run python -m benchmarks cells: {describe(cell)} is not on the page"
    errors = re.findall(r"\d\.\de-\d\d", rows[0])
    assert len(errors) == 2
    assert all(float(error) <= 1e-5 for error in errors)


def test_a_table_is_put_between_its_marks_and_all_else_stays() -> None:
    page = "before\n<!-- a -->\n<!-- end of a -->\nafter\n"
    once = replace_table(page, "a", "| x |")
    assert once == "before\n<!-- a -->\n| x |\n<!-- end of a -->\nafter\n"
    assert replace_table(once, "a", "| y |") == once.replace("x", "y")
