"""``seqserve classify``: what a text is."""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from seqserve.client._sync.client import Client
from seqserve.client.cli import classify_lines
from seqserve.client.cli.output import print_json, print_table
from seqserve.client.cli.texts import add_texts, batches, is_stream, sound
from seqserve.client.types.classification import TextClassification

EXAMPLES: str = """examples:
  seqserve classify MODEL "a moving and important film" "dull, lifeless, and amateurish"
  seqserve classify MODEL - --each --json < reviews.txt
  tail -f review.txt | seqserve classify MODEL -
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    add_texts(parser, kind="text")
    parser.add_argument("--version", type=int, metavar="N", help="version of the model (default: the newest)")
    parser.add_argument("--top", type=int, metavar="K", help="only the K likeliest labels of each text")


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print a table of the texts, or one JSON object a text; of a text that comes line by line what it is so far."""
    if is_stream(arguments):
        return classify_lines.run(client, arguments)
    all_answered = True
    for batch in batches(arguments.texts):
        found = sound(
            batch,
            client.classify_many(arguments.model, batch, version=arguments.version, top_labels=arguments.top),
        )
        all_answered &= len(found) == len(batch)
        if arguments.json:
            for text, classification in found:
                print_json(classification, text=text)
        elif found:
            _print(found)
    return 0 if all_answered else 1


def _print(found: list[tuple[str, TextClassification]]) -> None:
    table = Table("text", "is", "probabilities")
    for text, classification in found:
        probabilities = ", ".join(f"{one.label} {one.score:.3f}" for one in classification.labels)
        table.add_row(Text(text), Text(", ".join(classification.chosen)), Text(probabilities))
    print_table(table)
