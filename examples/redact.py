"""Redacts names in a text while it arrives: python examples/redact.py MODEL [FILE] --lookahead 2.

MODEL is a tagger with BIO or BIOES labels, which `seqserve-train tagger` trains on sentences with marked names. Output
can't be taken back, so the program holds a word until its label is final and a name that it may belong to has ended.
With --lookahead N that takes N more words; without it, the rest of the sentence.
"""

import argparse
import codecs
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator

from seqserve.client import Client, SentenceRule, SeqserveError, TagPiece

PIECE_BYTES_MAX = 4096


class Redactor:
    """Writes a text with its names redacted, up to the last final label."""

    def __init__(self, labels: set[str], write: Callable[[str], object]) -> None:
        self._labels = labels
        self._write = write
        self._sent = deque[str]()  # filled in the thread that reads the source
        self._held = ""
        self._held_from = 0

    def record(self, pieces: Iterator[str]) -> Iterator[str]:
        """Yields the pieces unchanged, and keeps their text until its labels are final."""
        for piece in pieces:
            self._sent.append(piece)
            yield piece

    def decide(self, piece: TagPiece) -> None:
        """Writes the text whose labels these tags and spans make final."""
        for span in piece.spans:
            if span.label in self._labels:
                self._write_until(span.start)
                self._drop_until(span.end)
                self._write(f"[{span.label}]")
        for tag in piece.tags:
            if tag.label == "O":
                self._write_until(tag.end)
            elif tag.label.startswith(("B-", "S-")):  # may be the start of a name
                self._write_until(tag.start)

    def finish(self) -> None:
        """Writes the remaining text."""
        self._gather()
        self._write(self._held)

    def _write_until(self, end: int) -> None:
        self._write(self._drop_until(end))

    def _drop_until(self, end: int) -> str:
        self._gather()
        count = max(0, end - self._held_from)
        dropped, self._held = self._held[:count], self._held[count:]
        self._held_from += count
        return dropped

    def _gather(self) -> None:
        while self._sent:
            self._held += self._sent.popleft()


def read_text(descriptor: int) -> Iterator[str]:
    """Yields the text of a file in pieces as they arrive, split at any character."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := os.read(descriptor, PIECE_BYTES_MAX):
        if text := decoder.decode(data):
            yield text
    if text := decoder.decode(b"", final=True):  # an incomplete character at the end
        yield text


def show(text: str) -> None:
    """Writes to standard output without buffering."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main(arguments: argparse.Namespace) -> None:
    """Redacts a file or standard input."""
    redactor = Redactor(set(arguments.labels.split(",")), show)
    descriptor = sys.stdin.fileno() if arguments.file == "-" else os.open(arguments.file, os.O_RDONLY)
    with (
        Client(arguments.server) as client,
        client.stream_tag(
            arguments.model,
            redactor.record(read_text(descriptor)),
            spans=True,
            lookahead=arguments.lookahead,
            sentence_rule=SentenceRule.PUNCTUATION,
        ) as stream,
    ):
        for piece in stream.pieces():
            redactor.decide(piece)
        redactor.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Redact names in a text while it arrives.")
    parser.add_argument("model", metavar="MODEL", help="name of the tagger")
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="text file (default: standard input)")
    parser.add_argument("--labels", metavar="LABEL,...", default="PER", help="labels to redact (default: PER)")
    parser.add_argument(
        "--lookahead", type=int, metavar="N", help="number of words to wait for (default: the whole sentence)"
    )
    parser.add_argument("--server", metavar="HOST:PORT", default="localhost:50051")
    try:
        main(parser.parse_args())
    except (SeqserveError, OSError) as error:
        sys.exit(str(error))
