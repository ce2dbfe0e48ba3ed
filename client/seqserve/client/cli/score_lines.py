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
from seqserve.client.cli.line_reader import LineReader
from seqserve.client.cli.lines import Line, Lines
from seqserve.client.cli.output import print_json
from seqserve.client.cli.standard_input import read_lines
from seqserve.client.core.score_stream import ScoredToken
from seqserve.client.errors import OutOfVocabularyError

_HIGHLIGHTED: Final = 3  # tokens of a line
_UNSEEN: Final = "inf"  # instead of a surprise: the model gives it no probability
_NO_SURPRISE: Final = "-"  # of a line whose only token begins the text


@dataclass(frozen=True)
class LineScore:
    """How surprising a line is, after all lines before it.

    Attributes:
        text: The line.
        surprise: Mean of its tokens' -log-probabilities, in nats; None if none has one.
        scored_tokens: Number of tokens in that mean.
        tokens: The tokens, if requested.
        unseen: The character or word that is not in the model's vocabulary, which has no unknown token. The tokens
            before it in the line are scored, and the next line starts a new sequence. None: there is none.
    """

    text: str
    surprise: float | None
    scored_tokens: int
    tokens: tuple[ScoredToken, ...] = ()
    unseen: str | None = None


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Prints a row for each line: its mean surprise in nats and its text, with the least likely tokens highlighted.

    A line with something that the model has never seen does not end the command: the row says what it is.
    """
    reader = LineReader(read_lines())
    while True:
        lines = Lines[ScoredToken](reader.follow())
        try:
            with client.stream_score(arguments.model, lines, version=arguments.version) as stream:
                for line, tokens in _scored(stream, lines):
                    reader.acknowledge()
                    _print(line, tokens, arguments)
        except OutOfVocabularyError as error:
            taken = reader.stop()
            index = _unseen_line(error, taken, reader.position)
            if index is None:
                raise
            end = reader.position + sum(map(len, taken[: index + 1]))
            reached = [(line, tokens) for line, tokens in lines.rest() if line.start < end]
            for line, tokens in reached[:-1]:
                _print(line, tokens, arguments)
            for line, tokens in reached[-1:]:
                _print(line, tokens, arguments, unseen=_unseen(error))
            reader.put_back(taken[index + 1 :])
        else:
            return 0


def _unseen_line(error: OutOfVocabularyError, taken: list[str], position: int) -> int | None:
    """Which line an error is about.

    Args:
        error: The error; its metadata have the offset of a character in the stream, if the server knows it.
        taken: Lines without an answer.
        position: Characters of the stream before them.

    Returns:
        Index of the line in ``taken``: without an offset the first that is not blank, as answers come in order. None if
        it is not among them.
    """
    offset = error.metadata.get("offset")
    if offset is None:
        return next((index for index, line in enumerate(taken) if line.strip()), None)
    for index, line in enumerate(taken):
        position += len(line)
        if int(offset) < position:
            return index
    return None


def _unseen(error: OutOfVocabularyError) -> str:
    return error.metadata.get("character") or error.metadata.get("word") or ""


def _print(line: Line, tokens: list[ScoredToken], arguments: argparse.Namespace, *, unseen: str | None = None) -> None:
    score = _line_score(line, tokens, with_tokens=arguments.tokens, unseen=unseen)
    if arguments.json:
        print_json(score)
        return
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_marked(score, line, tokens), soft_wrap=True)
    else:
        print(_row(score), flush=True)
    if arguments.tokens:
        for token in tokens:
            print(f"\t{token.chosen.token!r}\t{token.chosen.logprob:.4f}\t{token.chosen.rank}", flush=True)


def _scored(stream: ScoreStream, lines: Lines[ScoredToken]) -> Iterator[tuple[Line, list[ScoredToken]]]:
    for token in stream:
        yield from lines.answered(token)
    yield from lines.rest()


def _line_score(line: Line, tokens: list[ScoredToken], *, with_tokens: bool, unseen: str | None) -> LineScore:
    surprise = -sum(token.chosen.logprob for token in tokens) / len(tokens) if tokens else None
    return LineScore(line.text, surprise, len(tokens), tuple(tokens) if with_tokens else (), unseen)


def _row(score: LineScore) -> str:
    if score.unseen is not None:
        return f"{_UNSEEN}\t{score.text}\t{_described(score.unseen)}"
    surprise = _NO_SURPRISE if score.surprise is None else f"{score.surprise:.4f}"
    return f"{surprise}\t{score.text}"


def _described(unseen: str) -> str:
    """What was new, for people."""
    code_point = f" (U+{ord(unseen):04X})" if len(unseen) == 1 else ""
    return f"new: {unseen!r}{code_point}" if unseen else "new: a token that is not in the vocabulary"


def _marked(score: LineScore, line: Line, tokens: list[ScoredToken]) -> Text:
    surprise = _NO_SURPRISE if score.surprise is None else f"{score.surprise:.2f}"
    text = Text(line.text)
    for token in sorted(tokens, key=lambda token: token.chosen.logprob)[:_HIGHLIGHTED]:
        text.stylize("bold red", token.start - line.start, token.end - line.start)
    if score.unseen is None:
        return Text.assemble((f"{surprise:>6}  ", "dim"), text)
    if score.unseen:
        text.highlight_words([score.unseen], "bold reverse red")
    return Text.assemble((f"{_UNSEEN:>6}  ", "dim"), text, (f"  {_described(score.unseen)}", "bold red"))
