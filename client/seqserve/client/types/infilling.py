"""Filling blanks in texts.

Pure: converts texts to a request and answers to values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seqserve.client.errors import ProtocolError
from seqserve.client.types import html
from seqserve.client.types.answer import Servable, Timing, model_ref, servable_from_wire, timing_from_wire
from seqserve.client.types.logprobs import TokenLogprob, token_from_wire
from seqserve.client.types.tagging import OffsetUnit, offset_unit_to_wire
from seqserve.client.types.texts import WholeText, words_or_ids
from seqserve.v1 import infilling_pb2


@dataclass(frozen=True, slots=True)
class FilledBlank:
    """The candidates for one blank.

    Attributes:
        candidates: The likeliest tokens, best first. Ranks may have gaps: tokens that are not
            words, such as the one for unknown words, are never candidates.
        start: Where the blank starts in the text; words are counted as joined by single spaces. 0 for token ids.
        end: Where it ends, the first place after it.
        position: Position of the blank, in tokens from 0.
    """

    candidates: tuple[TokenLogprob, ...]
    start: int
    end: int
    position: int


@dataclass(frozen=True, slots=True)
class FilledText:
    """A text with its blanks filled.

    Attributes:
        text: The text with the likeliest token in each blank.
        blanks: What else may stand there, in order.
        servable: The servable that answered.
        timing: Times of the whole request, all its texts together.
    """

    text: str
    blanks: tuple[FilledBlank, ...]
    servable: Servable
    timing: Timing

    def __repr__(self) -> str:
        return f"<FilledText {html.shortened(self.text)}: {len(self.blanks)} blanks>"

    def _repr_html_(self) -> str:
        rows = [
            (index, ", ".join(f"{one.token} {one.logprob:.3f}" for one in blank.candidates))
            for index, blank in enumerate(self.blanks)
        ]
        return html.table(self.text, ("blank", "candidates, with their log-probabilities in nats"), rows)


def fill_request(
    model: str,
    texts: Iterable[WholeText],
    *,
    blank: str | None = None,
    version: int | None = None,
    top_k: int | None = None,
    offset_unit: OffsetUnit | None = None,
) -> infilling_pb2.FillInRequest:
    """The request to fill blanks. Only the given options are set.

    Raises:
        TypeError: If a text is neither a str, nor words, nor token ids.
        ValueError: If a number does not fit its field.
    """
    return infilling_pb2.FillInRequest(
        model=model_ref(model, version),
        inputs=[_input(text) for text in texts],
        top_k=top_k,
        blank=blank,
        offset_unit=offset_unit_to_wire(offset_unit),
    )


def filled_texts_from_wire(message: infilling_pb2.FillInResponse, count: int) -> list[FilledText]:
    """The answer as values, one for each text.

    Args:
        message: The answer.
        count: Number of texts sent.

    Raises:
        ProtocolError: The number of answers differs from the number of texts.
    """
    if len(message.sequences) != count:
        raise ProtocolError(f"the server answered {len(message.sequences)} texts, {count} were sent")
    servable, timing = servable_from_wire(message.servable), timing_from_wire(message.timing)
    return [
        FilledText(sequence.text, tuple(_blank(blank) for blank in sequence.blanks), servable, timing)
        for sequence in message.sequences
    ]


def _input(text: WholeText) -> infilling_pb2.FillInInput:
    if isinstance(text, str):
        return infilling_pb2.FillInInput(text=text)
    words, ids = words_or_ids(text)
    return infilling_pb2.FillInInput(words=words, token_ids=ids)


def _blank(message: infilling_pb2.FilledBlank) -> FilledBlank:
    return FilledBlank(
        candidates=tuple(token_from_wire(candidate) for candidate in message.candidates),
        start=message.offsets.start,
        end=message.offsets.end,
        position=message.position,
    )
