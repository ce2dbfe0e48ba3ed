"""Labels of spans in data: checked, repaired, and carried over to characters.

Readers of files call these for every sentence; what the labels mean is in `seqserve.training.data.labels`.
"""

from collections.abc import Iterable, Sequence

from seqserve.training.data.labels import OUTSIDE, Span, may_end, may_follow, may_start, scheme_of, spans
from seqserve.v1 import manifest_pb2

NONE = manifest_pb2.LABEL_SCHEME_NONE
BIO = manifest_pb2.LABEL_SCHEME_BIO
BIOES = manifest_pb2.LABEL_SCHEME_BIOES
BEGINS, ENDS = 1, 2
"""What a character does to its word, added up: BEGINS + ENDS is a word of one, 0 is inside a word or between two."""


def detected_scheme(tags: Iterable[str]) -> manifest_pb2.LabelScheme:
    """How these tags write spans. Spans without a single B- are BIO with errors, not another scheme."""
    distinct = set(tags)
    return scheme_of(sorted(distinct | {f"B{tag[1:]}" for tag in distinct if tag.startswith("I-")}))


def first_error(tags: Sequence[str], scheme: manifest_pb2.LabelScheme) -> tuple[int, str] | None:
    """Place and fault of the first tag that may not stand where it stands; None if there is none."""
    if scheme == NONE:
        return None
    for place, tag in enumerate(tags):
        if place == 0 and not may_start(tag):
            return place, f"{tag} begins the sentence, but nothing is there to go on with"
        if place and not may_follow(tags[place - 1], tag, scheme):
            return place, f"{tag} may not follow {tags[place - 1]}"
    if tags and not may_end(tags[-1], scheme):
        return len(tags) - 1, f"{tags[-1]} ends the sentence, but its span is not ended"
    return None


def repaired(tags: Sequence[str], scheme: manifest_pb2.LabelScheme) -> tuple[str, ...]:
    """Corrects tags: a continuation without a span begins one, and open spans are ended."""
    found = list[Span]()
    open_kind: str | None = None
    for place, tag in enumerate(tags):
        if tag == OUTSIDE:
            open_kind = None
            continue
        prefix, kind = tag[0], tag[2:]
        if prefix in "IE" and kind == open_kind:
            found[-1] = found[-1]._replace(end=place + 1)
        else:
            found.append(Span(place, place + 1, kind))
        open_kind = None if prefix in "ES" else kind
    return written(found, len(tags), scheme)


def written(found: Iterable[Span], length: int, scheme: manifest_pb2.LabelScheme) -> tuple[str, ...]:
    """Tags of ``length`` tokens that write these spans."""
    tags = [OUTSIDE] * length
    for start, end, kind in found:
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
        if scheme == BIOES:
            tags[end - 1] = f"S-{kind}" if end - start == 1 else f"E-{kind}"
    return tuple(tags)


def by_characters(
    words: Sequence[str], tags: Sequence[str], text: str, scheme: manifest_pb2.LabelScheme
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """The characters of a sentence, a tag for each, and whether it begins or ends its word (BEGINS, ENDS, or both).

    Args:
        words: the words of the sentence.
        tags: a tag for each, without errors in ``scheme``.
        text: the raw text; if the words are found in it, what stands between them are characters too, inside a span
            if its neighbours are, else outside. Without spans such characters are left out, for they have no tag.
        scheme: how the tags write spans; without spans each character has the tag of its word.
    """
    starts = _starts(words, text) if scheme != NONE else None
    if starts is None:
        text, starts = "".join(words), [sum(map(len, words[:place])) for place in range(len(words))]
    ends = [start + len(word) for start, word in zip(starts, words, strict=True)]
    edges = [0] * len(text)
    for start, end in zip(starts, ends, strict=True):
        edges[start] += BEGINS
        edges[end - 1] += ENDS
    if scheme == NONE:
        return tuple(text), tuple(tag for word, tag in zip(words, tags, strict=True) for _ in word), tuple(edges)
    found = (Span(starts[span.start], ends[span.end - 1], span.kind) for span in spans(tags, scheme))
    return tuple(text), written(found, len(text), scheme), tuple(edges)


def _starts(words: Sequence[str], text: str) -> list[int] | None:
    """Where the words begin in the text, in order; None if one is not found, or more than spaces lie between."""
    starts, end = list[int](), 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or text[end:start].strip():
            return None
        starts.append(start)
        end = start + len(word)
    return None if text[end:].strip() else starts
