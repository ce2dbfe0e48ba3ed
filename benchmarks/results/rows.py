"""All rows, in the order of the page."""

from benchmarks.results import adding, gates, language, running

ROWS = (*language.ROWS, adding.ROW, gates.ROW, *running.ROWS)
