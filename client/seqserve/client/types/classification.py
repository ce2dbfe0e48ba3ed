"""Classification: texts in, what each is out.

Pure: turns texts into a request message and messages into values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seqserve.client.errors import ProtocolError
from seqserve.client.types.answer import Servable, Timing, model_ref, servable_from_wire, timing_from_wire
from seqserve.client.types.tagging import LabelScore
from seqserve.client.types.texts import WholeText, words_or_ids
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


@dataclass(frozen=True, slots=True)
class TextClassification(Classification):
    """What a whole text is.

    Attributes:
        servable: The servable that answered.
        timing: Times of the whole request, all its texts together.
    """

    servable: Servable
    timing: Timing


def classify_request(
    model: str, texts: Iterable[WholeText], *, version: int | None = None, top_labels: int | None = None
) -> classification_pb2.ClassifyRequest:
    """The message that asks what texts are; only what is given is in it.

    Raises:
        TypeError: If a text is neither a str, nor words, nor token ids.
        ValueError: If a number does not fit its field.
    """
    return classification_pb2.ClassifyRequest(
        model=model_ref(model, version), inputs=[_input(text) for text in texts], top_labels=top_labels
    )


def classifications_from_wire(message: classification_pb2.ClassifyResponse, count: int) -> list[TextClassification]:
    """The answer as values, one a text.

    Args:
        message: The answer.
        count: How many texts were sent.

    Raises:
        ProtocolError: If the answer is not about as many texts as were asked.
    """
    if len(message.classifications) != count:
        raise ProtocolError(f"the server answered {len(message.classifications)} texts, {count} were sent")
    servable, timing = servable_from_wire(message.servable), timing_from_wire(message.timing)
    found = map(classification_from_wire, message.classifications)
    return [TextClassification(one.labels, one.chosen, one.tokens, servable, timing) for one in found]


def classification_from_wire(message: classification_pb2.Classification) -> Classification:
    """What a message says that a text is."""
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
