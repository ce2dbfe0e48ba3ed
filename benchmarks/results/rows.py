"""All rows, in the order of the page."""

from benchmarks.results import adding

ROWS = (adding.ROW,)
