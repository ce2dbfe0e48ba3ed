"""``seqserve score``: how likely the model finds a text."""

from __future__ import annotations

import argparse

from rich.table import Column, Table
from rich.text import Text

from seqserve.client._sync.client import Client
from seqserve.client.cli import score_lines
from seqserve.client.cli.output import print_json, print_table
from seqserve.client.cli.texts import add_texts, batches, is_stream, sound
from seqserve.client.types.scoring import TextScore

EXAMPLES: str = """examples:
  seqserve score shakespeare-char "To be, or not to be" "To bee, or not to bee"
  seqserve score shakespeare-char "To be" --tokens
  seqserve score shakespeare-char - --each --json < lines.txt
  tail -f service.log | seqserve score log-lines -
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    add_texts(parser, kind="text")
    parser.add_argument("--version", type=int, metavar="N", help="version of the model (default: the newest)")
    parser.add_argument("--tokens", action="store_true", help="also each token's log-probability and rank")


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print a table of the texts, with ``--tokens`` one a text too, or one JSON object a text.

    A text that arrives line by line is scored as it comes.
    """
    if is_stream(arguments):
        return score_lines.run(client, arguments)
    all_answered = True
    logprobs = 0 if arguments.tokens else None
    for batch in batches(arguments.texts):
        scores = sound(batch, client.score_many(arguments.model, batch, version=arguments.version, logprobs=logprobs))
        all_answered &= len(scores) == len(batch)
        if arguments.json:
            for text, score in scores:
                print_json(score, text=text)
        elif scores:
            _print(scores)
    return 0 if all_answered else 1


def _print(scores: list[tuple[str, TextScore]]) -> None:
    table = Table("text", *_numbers("nats", "tokens", "perplexity"))
    for text, score in scores:
        table.add_row(Text(text), f"{score.logprob:.4f}", str(score.scored_tokens), f"{score.perplexity:.4f}")
        if score.tokens:
            _print_tokens(text, score)
    print_table(table)


def _print_tokens(text: str, score: TextScore) -> None:
    table = Table("token", *_numbers("nats", "rank"), title=Text(text), title_justify="left")
    for step in score.tokens:
        table.add_row(Text(repr(step.chosen.token)), f"{step.chosen.logprob:.4f}", str(step.chosen.rank))
    print_table(table)


def _numbers(*names: str) -> list[Column]:
    """Columns that stay whole however long the text beside them is."""
    return [Column(name, justify="right", no_wrap=True) for name in names]
