"""Classification of whole texts.

Pure: converts texts to a request and answers to values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seqserve.client.errors import ProtocolError
from seqserve.client.types import html
from seqserve.client.types.answer import Servable, Timing, model_ref, servable_from_wire, timing_from_wire
from seqserve.client.types.tagging import LabelScore
from seqserve.client.types.texts import WholeText, words_or_ids
from seqserve.v1 import classification_pb2


@dataclass(frozen=True, slots=True)
class Classification:
    """The classification of a text.

    Attributes:
        labels: Labels with their probabilities, best first. With one label a text they sum to 1; with several labels
            a text they are independent.
        chosen: Assigned labels: the best one; for multi-label models all labels over the model's threshold.
        tokens: Number of tokens of the text; in a stream, of the sequence so far.
    """

    labels: tuple[LabelScore, ...]
    chosen: tuple[str, ...]
    tokens: int

    def __repr__(self) -> str:
        labels = ", ".join(f"{one.label} {one.score:.3f}" for one in self.labels[:5])
        return f"<{type(self).__name__} {', '.join(self.chosen) or 'none'}: {labels}, {self.tokens:,} tokens>"

    def _repr_html_(self) -> str:
        rows = [(one.label, f"{one.score:.3f}") for one in self.labels]
        return html.table(", ".join(self.chosen) or "none", ("label", "probability"), rows)


@dataclass(frozen=True, slots=True, repr=False)
class TextClassification(Classification):
    """The classification of a whole text.

    Attributes:
        servable: The servable that answered.
        timing: Times of the whole request, all its texts together.
    """

    servable: Servable
    timing: Timing


def classify_request(
    model: str, texts: Iterable[WholeText], *, version: int | None = None, top_labels: int | None = None
) -> classification_pb2.ClassifyRequest:
    """The request to classify texts. Only the given options are set.

    Raises:
        TypeError: If a text is neither a str, nor words, nor token ids.
        ValueError: If a number does not fit its field.
    """
    return classification_pb2.ClassifyRequest(
        model=model_ref(model, version), inputs=[_input(text) for text in texts], top_labels=top_labels
    )


def classifications_from_wire(message: classification_pb2.ClassifyResponse, count: int) -> list[TextClassification]:
    """The answer as values, one for each text.

    Args:
        message: The answer.
        count: Number of texts sent.

    Raises:
        ProtocolError: The number of answers differs from the number of texts.
    """
    if len(message.classifications) != count:
        raise ProtocolError(f"the server answered {len(message.classifications)} texts, {count} were sent")
    servable, timing = servable_from_wire(message.servable), timing_from_wire(message.timing)
    found = map(classification_from_wire, message.classifications)
    return [TextClassification(one.labels, one.chosen, one.tokens, servable, timing) for one in found]


def classification_from_wire(message: classification_pb2.Classification) -> Classification:
    """The classification of a message."""
    return Classification(
        labels=tuple(LabelScore(one.label, one.score) for one in message.labels),
        chosen=tuple(message.chosen),
        tokens=message.tokens,
    )


def _input(text: WholeText) -> classification_pb2.ClassifyInput:
    if isinstance(text, str):
        return classification_pb2.ClassifyInput(text=text)
    words, ids = words_or_ids(text)
    return classification_pb2.ClassifyInput(words=words, token_ids=ids)
