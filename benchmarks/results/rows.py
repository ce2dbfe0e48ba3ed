"""All rows, in the order of the page."""

from benchmarks.results import adding, gates, language, running, tagging

ROWS = (*language.ROWS, *tagging.ROWS, adding.ROW, gates.ROW, *running.ROWS)
