"""All rows in the order of the page."""

from benchmarks.results import adding, bidirectional, gates, language, running, tagging

ROWS = (*language.ROWS, bidirectional.ROW, *tagging.ROWS, adding.ROW, gates.ROW, *running.ROWS)
