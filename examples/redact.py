"""Black out names in a text while it comes: python examples/redact.py MODEL [FILE] --lookahead 2.

MODEL is a tagger whose labels are BIO or BIOES, as `seqserve-train tagger` makes one of sentences with marked names.
What is written cannot be taken back, so a word is held until its label is final, and until the name that it may be a
part of has ended: with --lookahead N that takes N words more, without it the rest of the sentence.
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
    """Passes a text on with the names in it blacked out, as far as it is decided."""

    def __init__(self, labels: set[str], write: Callable[[str], object]) -> None:
        self._labels = labels
        self._write = write
        self._sent = deque[str]()  # filled in the thread that reads the source
        self._held = ""
        self._held_from = 0

    def passing(self, pieces: Iterator[str]) -> Iterator[str]:
        """The same pieces, remembered until they are decided."""
        for piece in pieces:
            self._sent.append(piece)
            yield piece

    def decide(self, piece: TagPiece) -> None:
        """Write what these tags and spans decide."""
        for span in piece.spans:
            if span.label in self._labels:
                self._write_until(span.start)
                self._drop_until(span.end)
                self._write(f"[{span.label}]")
        for tag in piece.tags:
            if tag.label == "O":
                self._write_until(tag.end)
            elif tag.label.startswith(("B-", "S-")):  # this may be the beginning of a name
                self._write_until(tag.start)

    def finish(self) -> None:
        """Write the rest."""
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


def text_of(descriptor: int) -> Iterator[str]:
    """A file's text in pieces, each as soon as it is there, cut wherever they happen to be."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := os.read(descriptor, PIECE_BYTES_MAX):
        if text := decoder.decode(data):
            yield text
    if text := decoder.decode(b"", final=True):  # a character that the end has cut off
        yield text


def show(text: str) -> None:
    """Write to standard output at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main(arguments: argparse.Namespace) -> None:
    """Redact a file, or standard input."""
    redactor = Redactor(set(arguments.labels.split(",")), show)
    descriptor = sys.stdin.fileno() if arguments.file == "-" else os.open(arguments.file, os.O_RDONLY)
    with (
        Client(arguments.server) as client,
        client.stream_tag(
            arguments.model,
            redactor.passing(text_of(descriptor)),
            spans=True,
            lookahead=arguments.lookahead,
            sentence_rule=SentenceRule.PUNCTUATION,
        ) as stream,
    ):
        for piece in stream.pieces():
            redactor.decide(piece)
        redactor.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Black out names in a text while it comes.")
    parser.add_argument("model", metavar="MODEL", help="name of the tagger")
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="text file (default: standard input)")
    parser.add_argument("--labels", metavar="LABEL,...", default="PER", help="what to black out (default: PER)")
    parser.add_argument("--lookahead", type=int, metavar="N", help="words to wait for (default: the whole sentence)")
    parser.add_argument("--server", metavar="HOST:PORT", default="localhost:50051")
    try:
        main(parser.parse_args())
    except (SeqserveError, OSError) as error:
        sys.exit(str(error))
