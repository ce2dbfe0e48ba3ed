"""One scheme of span labels over all files of a run, whatever spelling each file has.

BMES writes M for I of BIOES; BILOU writes L for E and U for S; tags may also be bare letters without a kind. IOB1,
which begins a span with I- unless another of its kind ends directly before, is BIO after `repaired`.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from seqserve.training.data.conllu import Sentence
from seqserve.training.data.labels import OUTSIDE, scheme_of, spans
from seqserve.training.data.schemes import BIO, BIOES, NONE, detected_scheme, written
from seqserve.training.errors import DataError
from seqserve.v1 import manifest_pb2

BARE_KIND = "SPAN"
"""Kind of the spans that bare letters write."""
PREFIXES = "BIESMLU"
NEAR_MISS_FRACTION = 0.1
"""Tags outside a scheme may be this fraction of all for the file to look like the scheme but for them."""
log = logging.getLogger(__name__)
Numbered = list[tuple[int, Sentence]]


def name_of(scheme: manifest_pb2.LabelScheme) -> str:
    """Returns the name of a scheme for people, for example BIO."""
    return manifest_pb2.LabelScheme.Name(scheme).removeprefix("LABEL_SCHEME_")


def standard_spelling(path: Path, numbered: Numbered) -> Numbered:
    """Rewrites BMES, BILOU and bare letters in the spelling of BIOES or BIO.

    Args:
        path: File of the sentences, for messages.
        numbered: Sentences, each with the number of its first line.

    Returns:
        The sentences with their tags rewritten; as they are if nothing has to be rewritten.

    Raises:
        DataError: A few tags are outside the scheme of all others.
    """
    counts = Counter(tag for _, sentence in numbered for tag in sentence.tags)
    bare = "B" in counts and set(counts) <= set(PREFIXES) | {OUTSIDE} and bool(set(counts) & set("IEML"))
    spelled = {tag: f"{tag}-{BARE_KIND}" if bare and tag != OUTSIDE else tag for tag in counts}
    prefixes = {tag[0] for tag in spelled.values() if _writes_span(tag)}
    letters: dict[str, str] = {}
    if "M" in prefixes and not prefixes & set("ILU"):
        letters, spelling = {"M": "I"}, "BMES"
    elif prefixes & set("LU") and not prefixes & set("MES"):
        letters, spelling = {"L": "E", "U": "S"}, "BILOU"
    else:
        spelling = "bare letters"
    rewritten = {
        tag: letters.get(each[0], each[0]) + each[1:] if _writes_span(each) else each for tag, each in spelled.items()
    }
    if scheme_of(sorted(rewritten.values())) == NONE:
        _refuse_near_miss(path, numbered, counts)
        return numbered
    if all(tag == each for tag, each in rewritten.items()):
        return numbered
    log.warning("%s: tags in %s are read as %s", path, spelling, name_of(scheme_of(sorted(rewritten.values()))))
    return [(line, replace(each, tags=tuple(rewritten[tag] for tag in each.tags))) for line, each in numbered]


def _writes_span(tag: str) -> bool:
    return len(tag) > 2 and tag[1] == "-" and tag[0] in PREFIXES


def _refuse_near_miss(path: Path, numbered: Numbered, counts: Counter[str]) -> None:
    others = {tag: count for tag, count in counts.items() if tag != OUTSIDE and not _writes_span(tag)}
    inside = sorted(set(counts) - set(others))
    scheme = detected_scheme(inside)
    if scheme == NONE or not others or sum(others.values()) > NEAR_MISS_FRACTION * counts.total():
        return
    place = next(line + index for line, each in numbered for index, tag in enumerate(each.tags) if tag in others)
    names = ", ".join(f"{tag} ({count})" for tag, count in sorted(others.items()))
    raise DataError(path, f"tags look like {name_of(scheme)} but for: {names}; correct them", line=place)


def looks_like_iob1(tags: Iterable[Sequence[str]]) -> bool:
    """Whether spans begin with I-, and B- only separates a span from one of its kind directly before it."""
    for sentence in tags:
        for before, tag in zip((OUTSIDE, *sentence), sentence, strict=False):
            if tag.startswith("B-") and before[1:] != tag[1:]:
                return False
    return True


def unified(
    parts: Mapping[Path, list[Sentence]], scheme: manifest_pb2.LabelScheme | None = None
) -> dict[Path, list[Sentence]]:
    """Writes the spans of all files in one scheme.

    Args:
        parts: Sentences of each file, each file in one scheme and without errors.
        scheme: Scheme to write; None for BIOES if one of the files has it, else the files' own.

    Returns:
        The sentences of each file. Files whose scheme differs are converted, which the log says.

    Raises:
        DataError: A file has tags that write no spans, and the others do.
    """
    schemes = {path: detected_scheme(tag for each in part for tag in each.tags) for path, part in parts.items()}
    found = set(schemes.values())
    target = scheme if scheme is not None else next((each for each in (BIOES, BIO) if each in found), NONE)
    if target == NONE:
        return dict(parts)
    result = dict[Path, list[Sentence]]()
    for path, part in parts.items():
        own = schemes[path]
        if own == NONE and (others := sorted({tag for each in part for tag in each.tags} - {OUTSIDE})):
            raise DataError(path, f"its tags are not in {name_of(target)}, unlike the others: {', '.join(others[:3])}")
        if own in (NONE, target):
            result[path] = part
            continue
        log.warning("%s: tags are converted from %s to %s", path, name_of(own), name_of(target))
        result[path] = [replace(each, tags=written(spans(each.tags, own), len(each.tags), target)) for each in part]
    return result
