"""``seqserve tag``: a label for every token."""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from seqserve.client._sync.client import Client
from seqserve.client.cli import tag_lines
from seqserve.client.cli.output import print_json, print_table
from seqserve.client.cli.texts import add_texts, batches, is_stream, sound
from seqserve.client.types.tagging import TaggedText

EXAMPLES: str = """examples:
  seqserve tag english-pos "The quick brown fox can't wait to see Paris in the spring."
  seqserve tag english-pos - --json < sentences.txt
  tail -f talk.log | seqserve tag english-pos - --lookahead 2 --provisional
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    add_texts(parser, kind="sentence", alone=False)
    parser.add_argument("--version", type=int, metavar="N", help="version of the model (default: the newest)")
    parser.add_argument("--top", type=int, metavar="K", help="also the K likeliest labels of each token")
    parser.add_argument("--spans", action="store_true", help="also the spans, where labels are BIO or BIOES")
    tag_lines.add(parser)


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print a table for every text, or one JSON object a line; a text that comes line by line as its tags come."""
    if is_stream(arguments):
        return tag_lines.run(client, arguments)
    tag_lines.check(arguments)
    all_answered = True
    for batch in batches(arguments.texts):
        answers = client.tag_many(
            arguments.model, batch, version=arguments.version, top_labels=arguments.top, spans=arguments.spans
        )
        found = sound(batch, answers)
        all_answered &= len(found) == len(batch)
        for _, tagged in found:
            if arguments.json:
                print_json(tagged)
            else:
                _print(tagged)
    return 0 if all_answered else 1


def _print(tagged: TaggedText) -> None:
    show_top = any(tag.top for tag in tagged.tags)
    table = Table("token", "tag", "score", *(["also"] if show_top else []))
    for tag in tagged.tags:
        also = ", ".join(f"{other.label} {other.score:.3f}" for other in tag.top)
        table.add_row(Text(tag.token), Text(tag.label), f"{tag.score:.3f}", *([Text(also)] if show_top else []))
    print_table(table)
    if tagged.spans:
        spans = Table("span", "label", "score", "characters")
        for span in tagged.spans:
            spans.add_row(Text(span.text), Text(span.label), f"{span.score:.3f}", f"{span.start}-{span.end}")
        print_table(spans)
