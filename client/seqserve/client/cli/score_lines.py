"""``seqserve score MODEL -``: how surprising each line of a text is, as it comes; for logs and the like."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from seqserve.client._sync.client import Client
from seqserve.client._sync.duplex_stream import ScoreStream
from seqserve.client.cli.lines import Line, Lines, standard_input
from seqserve.client.cli.output import print_json
from seqserve.client.core.score_stream import ScoredToken

_HIGHLIGHTED: Final = 3  # tokens of a line
_NO_SURPRISE: Final = "-"  # of a line whose only token begins the text


@dataclass(frozen=True)
class LineScore:
    """How surprising a line is, after all lines before it.

    Attributes:
        text: The line.
        surprise: Mean of its tokens' -log-probabilities, in nats; None if none has one.
        scored_tokens: Tokens in that mean.
        tokens: The tokens, if asked for.
    """

    text: str
    surprise: float | None
    scored_tokens: int
    tokens: tuple[ScoredToken, ...] = ()


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print a row a line: its mean surprise in nats and its text, on a terminal with the least likely tokens marked."""
    lines = Lines[ScoredToken](standard_input())
    console = Console(highlight=False)
    with client.stream_score(arguments.model, lines, version=arguments.version) as stream:
        for line, tokens in _scored(stream, lines):
            score = _line_score(line, tokens, with_tokens=arguments.tokens)
            if arguments.json:
                print_json(score)
            elif console.is_terminal:
                console.print(_marked(score, line, tokens), soft_wrap=True)
            else:
                print(_row(score), flush=True)
            if arguments.tokens and not arguments.json:
                for token in tokens:
                    print(f"\t{token.chosen.token!r}\t{token.chosen.logprob:.4f}\t{token.chosen.rank}", flush=True)
    return 0


def _scored(stream: ScoreStream, lines: Lines[ScoredToken]) -> Iterator[tuple[Line, list[ScoredToken]]]:
    for token in stream:
        yield from lines.answered(token)
    yield from lines.rest()


def _line_score(line: Line, tokens: list[ScoredToken], *, with_tokens: bool) -> LineScore:
    surprise = -sum(token.chosen.logprob for token in tokens) / len(tokens) if tokens else None
    return LineScore(line.text, surprise, len(tokens), tuple(tokens) if with_tokens else ())


def _row(score: LineScore) -> str:
    surprise = _NO_SURPRISE if score.surprise is None else f"{score.surprise:.4f}"
    return f"{surprise}\t{score.text}"


def _marked(score: LineScore, line: Line, tokens: list[ScoredToken]) -> Text:
    surprise = _NO_SURPRISE if score.surprise is None else f"{score.surprise:.2f}"
    text = Text(line.text)
    for token in sorted(tokens, key=lambda token: token.chosen.logprob)[:_HIGHLIGHTED]:
        text.stylize("bold red", token.start - line.start, token.end - line.start)
    return Text.assemble((f"{surprise:>6}  ", "dim"), text)
