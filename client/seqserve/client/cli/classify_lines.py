"""``seqserve classify MODEL -``: what a text is that comes line by line, as far as it came."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from seqserve.client._sync.client import Client
from seqserve.client.cli.output import print_json
from seqserve.client.cli.standard_input import read_lines
from seqserve.client.core.classify_stream import ClassifyItem
from seqserve.client.core.stream import FLUSH


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print the running answer, a row each: tokens so far, and labels with their probabilities; or a JSON object."""
    with client.stream_classify(
        arguments.model, _flushed(read_lines()), version=arguments.version, top_labels=arguments.top
    ) as stream:
        for answer in stream:
            if arguments.json:
                print_json(answer)
            else:
                labels = "  ".join(f"{one.label} {one.score:.3f}" for one in answer.labels)
                print(f"{answer.tokens}\t{labels}", flush=True)
    return 0


def _flushed(lines: Iterator[str]) -> Iterator[ClassifyItem]:
    """Lines that count at once, their last words too."""
    for line in lines:
        yield line
        if line.strip():
            yield FLUSH
