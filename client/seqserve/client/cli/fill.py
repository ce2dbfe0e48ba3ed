"""``seqserve fill``: what may stand in the blanks of a text."""

from __future__ import annotations

import argparse

from rich.table import Column, Table
from rich.text import Text

from seqserve.client._sync.client import Client
from seqserve.client.cli.output import print_json, print_table
from seqserve.client.cli.texts import add_each_text, batches, sound
from seqserve.client.types.infilling import FilledText

EXAMPLES: str = """examples:
  seqserve fill MODEL "The ___ sat on the ___."
  seqserve fill MODEL "The [?] sat on the mat." --blank "[?]" --top 10 --json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    add_each_text(parser, kind="text")
    parser.add_argument("--blank", metavar="MARK", help="what stands for a blank (default: ___)")
    parser.add_argument("--version", type=int, metavar="N", help="version of the model (default: the newest)")
    parser.add_argument("--top", type=int, metavar="K", help="the K likeliest tokens for each blank (default: 5)")


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print each text filled and a table of what else may stand in it, or one JSON object a text."""
    all_answered = True
    for batch in batches(arguments.texts):
        answers = client.fill_many(
            arguments.model, batch, blank=arguments.blank, version=arguments.version, top_k=arguments.top
        )
        found = sound(batch, answers)
        all_answered &= len(found) == len(batch)
        for _, filled in found:
            if arguments.json:
                print_json(filled)
            else:
                _print(filled)
    return 0 if all_answered else 1


def _print(filled: FilledText) -> None:
    table = Table("blank", "token", Column("nats", justify="right"), title=Text(filled.text), title_justify="left")
    for number, blank in enumerate(filled.blanks, 1):
        for candidate in blank.candidates:
            table.add_row(str(number), Text(candidate.token), f"{candidate.logprob:.4f}")
    print_table(table)
