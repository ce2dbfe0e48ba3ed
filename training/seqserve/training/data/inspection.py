"""What a data set looks like before anything is trained on it: counts, lengths, vocabulary, labels, longest items."""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PERCENTILES = (0, 5, 25, 50, 75, 95, 99, 100)
LONGEST = 5
MISSING = 10
BEGINNING_CHARACTERS = 60


@dataclass(order=True)
class Item:
    """A sentence, a text or a document: its tokens, where it stands, and how it begins."""

    length: int
    where: str
    begins: str


@dataclass
class PartCounts:
    """Statistics of one split of a data set. Items are counted one by one and not kept."""

    lengths: list[int] = field(default_factory=list[int])
    tokens: Counter[str] = field(default_factory=Counter[str])
    labels: Counter[str] = field(default_factory=Counter[str])
    characters: int = 0
    longest: list[Item] = field(default_factory=list[Item])

    def add(self, tokens: Iterable[str], labels: Iterable[str], *, where: str, text: str) -> None:
        """Count an item: its tokens, its labels, and its text, of which only the beginning is kept."""
        length = self.count(tokens, characters=len(text))
        self.labels.update(labels)
        self.end(length, where=where, begins=text[:BEGINNING_CHARACTERS])

    def count(self, tokens: Iterable[str], *, characters: int) -> int:
        """Count tokens of an item that has more of them, and how many there are."""
        listed = list(tokens)
        self.tokens.update(listed)
        self.characters += characters
        return len(listed)

    def end(self, length: int, *, where: str, begins: str) -> None:
        """Count an item whose tokens are counted already."""
        self.lengths.append(length)
        heapq.heappush(self.longest, Item(length, where, begins))
        if len(self.longest) > LONGEST:
            heapq.heappop(self.longest)


def inspection(parts: dict[str, PartCounts], vocabulary: Iterable[str]) -> dict[str, Any]:
    """All figures as JSON has them.

    Args:
        parts: what was counted, by name of the part.
        vocabulary: tokens that the model of this training part would know.
    Returns: for each part ``items``, ``tokens``, ``distinct_tokens``, ``characters``, ``length_percentiles`` (in
        tokens), ``coverage`` (part of the tokens that are in the vocabulary), ``missing`` (the most frequent that are
        not), ``labels`` and ``longest``; and the size of the vocabulary.
    """
    known = frozenset(vocabulary)
    return {"vocabulary": len(known), "parts": {name: _figures(counts, known) for name, counts in parts.items()}}


def _figures(counts: PartCounts, known: frozenset[str]) -> dict[str, Any]:
    total = counts.tokens.total()
    missing = Counter({token: count for token, count in counts.tokens.items() if token not in known})
    percentiles = np.percentile(counts.lengths, PERCENTILES, method="nearest") if counts.lengths else ()
    return {
        "items": len(counts.lengths),
        "tokens": total,
        "distinct_tokens": len(counts.tokens),
        "characters": counts.characters,
        "length_percentiles": {str(p): int(length) for p, length in zip(PERCENTILES, percentiles, strict=False)},
        "coverage": 1 - missing.total() / max(total, 1),
        "missing": dict(missing.most_common(MISSING)),
        "labels": dict(counts.labels.most_common()),
        "longest": [
            {"tokens": item.length, "where": item.where, "begins": item.begins}
            for item in sorted(counts.longest, reverse=True)
        ],
    }
