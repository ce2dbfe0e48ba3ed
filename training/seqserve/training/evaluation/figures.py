"""What is counted: spans found, and which label was taken for which."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from seqserve.training.data.labels import spans
from seqserve.v1 import manifest_pb2


@dataclass
class SpanCounts:
    """Spans in the data, spans found, and those found that are right: same tokens, same kind."""

    given: int = 0
    found: int = 0
    right: int = 0

    def add(self, given: Sequence[str], found: Sequence[str], scheme: manifest_pb2.LabelScheme) -> None:
        """Count the spans of one sentence, given its labels and those that a model found."""
        wanted, got = set(spans(given, scheme)), set(spans(found, scheme))
        self.given += len(wanted)
        self.found += len(got)
        self.right += len(wanted & got)

    @property
    def figures(self) -> dict[str, float]:
        """Precision, recall and F1, all spans alike (micro average); 0 where there is nothing to divide by."""
        return precision_recall_f1("span_", given=self.given, found=self.found, right=self.right)


def precision_recall_f1(prefix: str, *, given: int, found: int, right: int) -> dict[str, float]:
    """Precision, recall and their harmonic mean, under names with this prefix."""
    return {
        f"{prefix}precision": right / max(found, 1),
        f"{prefix}recall": right / max(given, 1),
        f"{prefix}f1": 2 * right / max(given + found, 1),
    }


@dataclass
class Confusion:
    """How often each label (the row) was taken for each (the column)."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def add(self, given: Iterable[str], found: Iterable[str]) -> None:
        """Count pairs of labels."""
        self.counts.update(zip(given, found, strict=True))

    @property
    def labels(self) -> list[str]:
        """All labels that occur, given or found, in order of their names."""
        return sorted({label for pair in self.counts for label in pair})

    def table(self) -> str:
        """The matrix in Markdown."""
        head = ["given \\ found", *self.labels]
        body = ([label, *map(str, row)] for label, row in zip(self.labels, self.rows(), strict=True))
        lines = [head, ["---"] + ["---:"] * len(self.labels), *body]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def rows(self) -> list[list[int]]:
        """The matrix in the order of ``labels``."""
        return [[self.counts[given, found] for found in self.labels] for given in self.labels]
