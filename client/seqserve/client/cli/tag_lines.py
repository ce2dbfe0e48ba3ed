"""``seqserve tag MODEL -``: the tags of a text that comes line by line."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from seqserve.client._sync.client import Client
from seqserve.client._sync.duplex_stream import TagStream
from seqserve.client.cli.lines import Line, Lines
from seqserve.client.cli.output import print_json
from seqserve.client.cli.standard_input import read_lines
from seqserve.client.core.tag_stream import SentenceRule, TagPiece
from seqserve.client.types.tagging import Tag, TagSpan

SENTENCE_RULES: Final = {
    "newline": SentenceRule.NEWLINE,
    "punctuation": SentenceRule.PUNCTUATION,
    "none": SentenceRule.CLIENT,
}

_COLOURS: Final = ("cyan", "green", "yellow", "magenta", "blue", "red", "bright_cyan", "bright_green", "bright_magenta")
_OUTSIDE: Final = "O"
_OVER: Final = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that only a text that comes line by line has."""
    group = parser.add_argument_group("with -")
    group.add_argument(
        "--sentence-rule", choices=SENTENCE_RULES, help="what ends a sentence (default: newline, each line is one)"
    )
    group.add_argument(
        "--lookahead", type=int, metavar="N", help="a tag is final N tokens later, for models that see the future"
    )
    group.add_argument("--provisional", action="store_true", help="also tags before they are final")


def check(arguments: argparse.Namespace) -> None:
    """Refuse what only a text that comes line by line has.

    Raises:
        ValueError: If it is not valid.
    """
    if arguments.sentence_rule or arguments.lookahead is not None or arguments.provisional:
        raise ValueError("--sentence-rule, --lookahead and --provisional are for -, a text that comes line by line")


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print a row a line as its tags come, on a terminal in colour, or one JSON object an event."""
    lines = Lines[Tag](read_lines())
    stream = client.stream_tag(
        arguments.model,
        lines,
        version=arguments.version,
        sentence_rule=SENTENCE_RULES[arguments.sentence_rule or "newline"],
        lookahead=arguments.lookahead,
        provisional=arguments.provisional,
        spans=arguments.spans,
        top_labels=arguments.top,
    )
    with stream:
        if arguments.json:
            _print_events(stream)
        elif (console := Console(highlight=False)).is_terminal:
            _show(stream, Rows(lines), console)
        else:
            _print(stream, Rows(lines))
    return 0


def _print_events(stream: TagStream) -> None:
    print_json(stream.start(), event="started")
    for piece in stream.pieces():
        for tag in piece.tags:
            print_json(tag, event="tag")
        for span in piece.spans:
            print_json(span, event="span")
    print_json(stream.finished, event="finished")


def _print(stream: TagStream, rows: Rows) -> None:
    for piece in stream.pieces():
        for row in rows.take(piece):
            print(row.plain, flush=True)
    for row in rows.rest():
        print(row.plain, flush=True)


def _show(stream: TagStream, rows: Rows, console: Console) -> None:
    """On a terminal the row in progress grows; provisional tags in it are dim."""
    for piece in stream.pieces():
        for row in rows.take(piece):
            _show_row(row, console)
        _show_row(rows.in_progress(console.width), console, end="")
    for row in rows.rest():
        _show_row(row, console)


def _show_row(row: Text, console: Console, end: str = "\n") -> None:
    """Write a row over the one in progress."""
    console.control(_OVER)
    console.print(row, end=end, soft_wrap=True)


class Rows:
    """Makes rows of the tags: one a line, and under it one a span."""

    def __init__(self, lines: Lines[Tag]) -> None:
        """Initializes it.

        Args:
            lines: Those that were sent.
        """
        self._lines = lines
        self._open: dict[int, Tag] = {}  # by position: a provisional tag makes room for the final one
        self._spans: list[TagSpan] = []
        self._rows_end = 0  # where the last line in a row ends

    def take(self, piece: TagPiece) -> Iterator[Text]:
        """The rows that a piece completes."""
        self._spans += piece.spans
        for tag in piece.tags:
            self._open[tag.position] = tag
            if not tag.provisional:
                yield from self._rows(self._lines.answered(tag))
        yield from self._complete_spans()

    def rest(self) -> Iterator[Text]:
        """The rows that are left at the end."""
        yield from self._rows(self._lines.rest())

    def in_progress(self, width: int) -> Text:
        """The tags that are in no row yet, as many of the last ones as fit into ``width`` columns."""
        cells = list(map(_cell, self._open.values()))
        while cells and sum(cell.cell_len + 1 for cell in cells) > width:
            cells.pop(0)
        return Text(" ").join(cells)

    def _rows(self, answered: Iterable[tuple[Line, list[Tag]]]) -> Iterator[Text]:
        for line, tags in answered:
            self._open = {position: tag for position, tag in self._open.items() if tag.start >= line.end}
            if tags:
                yield _row(tags)
            self._rows_end = line.end
            yield from self._complete_spans()

    def _complete_spans(self) -> Iterator[Text]:
        for span in [span for span in self._spans if span.end <= self._rows_end]:
            self._spans.remove(span)
            yield Text.assemble("  ", (span.label, _colour(span.label)), f" {span.text} ({span.start}-{span.end})")


def _row(tags: Iterable[Tag]) -> Text:
    return Text(" ").join(_cell(tag) for tag in tags)


def _cell(tag: Tag) -> Text:
    also = "".join(f"|{other.label} {other.score:.3f}" for other in tag.top)
    kind = tag.label.partition("-")[2] or tag.label  # B-PER and I-PER are one thing
    style = "dim" if tag.provisional or tag.label == _OUTSIDE else _colour(kind)
    return Text.assemble(tag.token, (f"/{tag.label}{also}", style))


def _colour(kind: str) -> str:
    """The same one for the same label, in every run."""
    return _COLOURS[zlib.crc32(kind.encode()) % len(_COLOURS)]
