"""Classification: texts in, what each is out.

Pure: turns messages into values.
"""

from __future__ import annotations

from dataclasses import dataclass

from seqserve.client.tagging import LabelScore
from seqserve.v1 import classification_pb2


@dataclass(frozen=True, slots=True)
class Classification:
    """What a text is.

    Attributes:
        labels: Labels with their probabilities, best first. With one label a text they add up to 1; with several labels
            a text each stands for itself.
        chosen: Labels that hold: the best one; with several labels a text those over the model's threshold.
        tokens: Tokens that it was made of; in a stream all of the sequence's so far.
    """

    labels: tuple[LabelScore, ...]
    chosen: tuple[str, ...]
    tokens: int


def classification_from_wire(message: classification_pb2.Classification) -> Classification:
    """What a message says that a text is."""
    return Classification(
        labels=tuple(LabelScore(one.label, one.score) for one in message.labels),
        chosen=tuple(message.chosen),
        tokens=message.tokens,
    )
