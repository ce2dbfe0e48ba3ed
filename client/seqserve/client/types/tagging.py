"""Tagging: a label for every token.

Pure: converts texts to a request and answers to values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from seqserve.client.errors import ProtocolError
from seqserve.client.types import html
from seqserve.client.types.answer import Servable, Timing, model_ref, servable_from_wire, timing_from_wire
from seqserve.v1 import common_pb2, tagging_pb2

TagText = str | Sequence[str]
"""A text to tag: a str, which the model's tokenizer cuts, or the words of one, which stay as they are."""


class OffsetUnit(StrEnum):
    """The unit in which offsets into a text are counted."""

    CHARACTER = "CHARACTER"
    """Code points, as Python indexes a str."""
    BYTE = "BYTE"
    """Bytes of the UTF-8 form."""


_OFFSET_UNITS: Final = {
    OffsetUnit.CHARACTER: common_pb2.OFFSET_UNIT_CHARACTER,
    OffsetUnit.BYTE: common_pb2.OFFSET_UNIT_BYTE,
}


def offset_unit_to_wire(unit: OffsetUnit | None) -> common_pb2.OffsetUnit | None:
    """A unit as a message has it; None stays None.

    Raises:
        ValueError: If it is none of those there are.
    """
    return None if unit is None else _OFFSET_UNITS[OffsetUnit(unit)]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its probability.

    Attributes:
        label: Label, as the model lists it.
        score: Probability in [0, 1].
    """

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Tag:
    """The label of one token.

    Attributes:
        token: Text of the token, from the caller's own text.
        label: The chosen label.
        score: Its probability in [0, 1].
        start: Where the token starts in the text, in a stream counted from its beginning; words are counted as joined
            by single spaces.
        end: Where it ends, the first place after it.
        position: Position of the token in its text or stream, counted from 0; in a session from its beginning.
        top: The best labels, best first, if asked for.
        provisional: The label may still change, and the tag is sent again; only in streams with ``provisional``.
    """

    token: str
    label: str
    score: float
    start: int
    end: int
    position: int
    top: tuple[LabelScore, ...] = ()
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class TagSpan:
    """A span of tokens, from models whose labels are BIO or BIOES.

    Attributes:
        label: Label without its B-, I-, E- or S- prefix.
        text: Its text; in a stream empty if it is longer than 65,536 characters, or bytes.
        score: Mean probability of its tokens' labels, in [0, 1].
        start: Where it starts in the text.
        end: Where it ends, the first place after it.
        first_position: Position of its first token.
        last_position: Position of its last token.
    """

    label: str
    text: str
    score: float
    start: int
    end: int
    first_position: int
    last_position: int


@dataclass(frozen=True, slots=True)
class TaggedText:
    """A text with its tags.

    Attributes:
        text: The input text, or its words joined by single spaces. Offsets refer to it.
        tags: One a token, in order.
        spans: Spans in order, if asked for.
        servable: The servable that answered.
        timing: Times of the whole request, all its texts together.
    """

    text: str
    tags: tuple[Tag, ...]
    spans: tuple[TagSpan, ...]
    servable: Servable
    timing: Timing

    def __repr__(self) -> str:
        tags = " ".join(f"{tag.token}/{tag.label}" for tag in self.tags[:20])
        more = f" and {len(self.tags) - 20:,} more" if len(self.tags) > 20 else ""
        return f"<TaggedText {html.shortened(self.text)}: {tags}{more}>"

    def _repr_html_(self) -> str:
        rows = [(tag.token, tag.label, f"{tag.score:.3f}") for tag in self.tags]
        spans = [(span.text, span.label, f"{span.score:.3f}") for span in self.spans]
        tables = html.table("tags", ("token", "label", "score"), rows)
        return tables + (html.table("spans", ("text", "label", "score"), spans) if spans else "")


def tag_request(
    model: str,
    texts: Iterable[TagText],
    *,
    version: int | None = None,
    top_labels: int | None = None,
    spans: bool = False,
    offset_unit: OffsetUnit | None = None,
) -> tagging_pb2.TagRequest:
    """The request to tag texts. Only the given options are set.

    Raises:
        TypeError: If a text is neither a str nor a sequence of them.
        ValueError: If a number does not fit its field.
    """
    return tagging_pb2.TagRequest(
        model=model_ref(model, version),
        inputs=[_input(text) for text in texts],
        outputs=tag_outputs(top_labels, offset_unit, spans=spans),
    )


def tag_outputs(
    top_labels: int | None, offset_unit: OffsetUnit | None, *, spans: bool
) -> tagging_pb2.TagOutputs | None:
    """The output options; None if none is given."""
    outputs = tagging_pb2.TagOutputs(top_labels=top_labels, spans=spans, offset_unit=offset_unit_to_wire(offset_unit))
    return outputs if outputs.ListFields() else None


def tagged_texts_from_wire(texts: Sequence[TagText], message: tagging_pb2.TagResponse) -> list[TaggedText]:
    """The answer as values, one for each text.

    Raises:
        ProtocolError: The number of answers differs from the number of texts.
    """
    if len(message.sequences) != len(texts):
        raise ProtocolError(f"the server answered {len(message.sequences)} texts, {len(texts)} were sent")
    servable, timing = servable_from_wire(message.servable), timing_from_wire(message.timing)
    return [
        TaggedText(
            text=text if isinstance(text, str) else " ".join(text),
            tags=tuple(tag_from_wire(tag) for tag in sequence.tags),
            spans=tuple(span_from_wire(span) for span in sequence.spans),
            servable=servable,
            timing=timing,
        )
        for text, sequence in zip(texts, message.sequences, strict=True)
    ]


def tag_from_wire(message: tagging_pb2.Tag) -> Tag:
    """The tag of a message."""
    return Tag(
        token=message.token,
        label=message.label,
        score=message.score,
        start=message.offsets.start,
        end=message.offsets.end,
        position=message.position,
        top=tuple(LabelScore(one.label, one.score) for one in message.top),
        provisional=message.provisional,
    )


def span_from_wire(message: tagging_pb2.TagSpan) -> TagSpan:
    """The span of a message."""
    return TagSpan(
        label=message.label,
        text=message.text,
        score=message.score,
        start=message.offsets.start,
        end=message.offsets.end,
        first_position=message.first_position,
        last_position=message.last_position,
    )


def _input(text: TagText) -> tagging_pb2.TagInput:
    if isinstance(text, str):
        return tagging_pb2.TagInput(text=text)
    return tagging_pb2.TagInput(words=common_pb2.Words(words=text))
