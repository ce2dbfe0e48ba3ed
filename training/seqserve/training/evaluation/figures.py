"""Metrics: found spans, and the confusion of labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from seqserve.training.data.labels import spans
from seqserve.v1 import manifest_pb2


@dataclass
class SpanCounts:
    """Spans in the data, spans found, and those found that are right: same tokens, same kind."""

    expected: int = 0
    predicted: int = 0
    correct: int = 0

    def add(self, expected: Sequence[str], predicted: Sequence[str], scheme: manifest_pb2.LabelScheme) -> None:
        """Count the spans of one sentence, given its labels and those that a model found."""
        expected_spans, predicted_spans = set(spans(expected, scheme)), set(spans(predicted, scheme))
        self.expected += len(expected_spans)
        self.predicted += len(predicted_spans)
        self.correct += len(expected_spans & predicted_spans)

    @property
    def figures(self) -> dict[str, float]:
        """Precision, recall and F1, all spans alike (micro average); 0 where there is nothing to divide by."""
        return precision_recall_f1("span_", expected=self.expected, predicted=self.predicted, correct=self.correct)


def precision_recall_f1(prefix: str, *, expected: int, predicted: int, correct: int) -> dict[str, float]:
    """Precision, recall and their harmonic mean, under names with this prefix."""
    return {
        f"{prefix}precision": correct / max(predicted, 1),
        f"{prefix}recall": correct / max(expected, 1),
        f"{prefix}f1": 2 * correct / max(expected + predicted, 1),
    }


@dataclass
class Confusion:
    """How often each label (the row) was taken for each (the column)."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def add(self, expected: Iterable[str], predicted: Iterable[str]) -> None:
        """Count pairs of labels."""
        self.counts.update(zip(expected, predicted, strict=True))

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
        return [[self.counts[expected, predicted] for predicted in self.labels] for expected in self.labels]

    def per_label(self) -> dict[str, dict[str, float]]:
        """Returns precision, recall, F1 and support (how often it was expected) of each label."""
        result = dict[str, dict[str, float]]()
        for label, row in zip(self.labels, self.rows(), strict=True):
            predicted = sum(self.counts[other, label] for other in self.labels)
            correct = self.counts[label, label]
            scores = precision_recall_f1("", expected=sum(row), predicted=predicted, correct=correct)
            result[label] = {**scores, "support": float(sum(row))}
        return result

    def macro_f1(self) -> float:
        """Returns the mean F1 of the labels; a label that is never predicted counts as 0."""
        scores = self.per_label().values()
        return sum(each["f1"] for each in scores) / max(len(scores), 1)
