"""HTML for notebooks, and short texts for both."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Final

_ROWS_MAX: Final = 100


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; rows after the hundredth are left out, and counted.

    Args:
        title: Its caption.
        header: Names of the columns; none: without a header.
        rows: A value for each column.
    """
    cells = [list(map(str, row)) for row in rows]
    head = f"<thead>{_row(header, 'th')}</thead>" if header else ""
    body = "".join(_row(row, "td") for row in cells[:_ROWS_MAX])
    rest = f"<p>and {len(cells) - _ROWS_MAX:,} more</p>" if len(cells) > _ROWS_MAX else ""
    return f"<table><caption>{html.escape(title)}</caption>{head}<tbody>{body}</tbody></table>{rest}"


def fields(title: str, values: dict[str, object]) -> str:
    """A table of names and values.

    Args:
        title: Its caption.
        values: Values by name.
    """
    return table(title, (), values.items())


def shortened(text: str, length: int = 60) -> str:
    """A text of at most ``length`` characters, as Python writes it.

    Args:
        text: The text.
        length: Maximum number of characters of the text that are kept.
    """
    return repr(text) if len(text) <= length else f"{text[:length]!r}..."


def _row(values: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values) + "</tr>"
