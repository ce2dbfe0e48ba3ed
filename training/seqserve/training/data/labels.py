"""What the names of labels say: how spans are written in them, and which label may follow which.

BIO: B-X begins a span of kind X, I-X continues it, O is outside. BIOES: a span of several tokens also ends with E-X,
and S-X is a span of one.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from seqserve.v1 import manifest_pb2

OUTSIDE = "O"
PREFIXES = {manifest_pb2.LABEL_SCHEME_BIO: "BI", manifest_pb2.LABEL_SCHEME_BIOES: "BIES"}


class Span(NamedTuple):
    """A span of tokens: its first token, the token after its last, and its kind."""

    start: int
    end: int
    kind: str


def scheme_of(labels: Sequence[str]) -> manifest_pb2.LabelScheme:
    """How these labels write spans; LABEL_SCHEME_NONE if they are no such labels."""
    prefixes = {label[0] for label in labels if len(label) > 2 and label[1] == "-"}
    spans = all(label == OUTSIDE or (len(label) > 2 and label[1] == "-") for label in labels)
    if not spans or not prefixes & {"B", "S"}:
        return manifest_pb2.LABEL_SCHEME_NONE
    for scheme, allowed in PREFIXES.items():
        if prefixes <= set(allowed):
            return scheme
    return manifest_pb2.LABEL_SCHEME_NONE


def may_start(label: str) -> bool:
    """Whether a sequence may start with a label of its scheme."""
    return label[0] not in "IE"


def may_follow(before: str, label: str, scheme: manifest_pb2.LabelScheme) -> bool:
    """Whether a label may stand after another."""
    opened = before[0] == "B" or before[0] == "I"
    continues = opened and label[0] in "IE" and label[1:] == before[1:]
    if scheme == manifest_pb2.LABEL_SCHEME_BIOES and opened:
        return continues  # what was begun has to be ended
    return continues or label[0] not in "IE"


def may_end(label: str, scheme: manifest_pb2.LabelScheme) -> bool:
    """Whether a sequence may end with a label."""
    return scheme != manifest_pb2.LABEL_SCHEME_BIOES or label[0] not in "BI"


def spans(labels: Sequence[str], scheme: manifest_pb2.LabelScheme) -> Iterator[Span]:
    """Yields the spans of a label sequence, strictly: a span must begin with B- or S-.

    In BIOES a span must also end with E-. These are the rules of seqeval's strict mode (schemes IOB2 and
    IOBES).
    """
    start = 0
    while start < len(labels):
        prefix, kind = labels[start][0], labels[start][2:]
        end = start + 1
        if prefix == "B":
            while end < len(labels) and labels[end] == f"I-{kind}":
                end += 1
            closed = scheme == manifest_pb2.LABEL_SCHEME_BIO
            if not closed and end < len(labels) and labels[end] == f"E-{kind}":
                closed, end = True, end + 1
            if closed:
                yield Span(start, end, kind)
        elif prefix == "S":
            yield Span(start, end, kind)
        start = end
