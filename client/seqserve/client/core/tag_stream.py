"""Streaming tags: options, results, and codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, TypedDict, Unpack

from seqserve.client.core.stream import Mark, StreamCodec, StreamEnd, check_options, stream_end
from seqserve.client.types.answer import StateResult, Timing, model_ref, state_from_wire, timing_from_wire
from seqserve.client.types.sessions import carried_state, duration
from seqserve.client.types.tagging import OffsetUnit, Tag, TagSpan, span_from_wire, tag_from_wire, tag_outputs
from seqserve.v1 import state_pb2, tagging_pb2

TagItem: TypeAlias = str | Sequence[str] | Sequence[int] | Mark
"""What a source of `stream_tag` yields: text (str), words or token ids, all of one form; SENTENCE_END and FLUSH."""


class TagFinality(StrEnum):
    """When a tag becomes final."""

    IMMEDIATE = "IMMEDIATE"
    """At once; only one-directional models without a CRF."""
    LOOKAHEAD = "LOOKAHEAD"
    """After a number of further tokens."""
    SENTENCE = "SENTENCE"
    """At the end of the sentence."""


class SentenceRule(StrEnum):
    """What ends a sentence, besides SENTENCE_END."""

    CLIENT = "CLIENT"
    """Nothing."""
    NEWLINE = "NEWLINE"
    """A line break."""
    PUNCTUATION = "PUNCTUATION"
    """Punctuation that ends sentences, or a line break."""


_FINALITIES: Final = {
    TagFinality.IMMEDIATE: tagging_pb2.TAG_FINALITY_IMMEDIATE,
    TagFinality.LOOKAHEAD: tagging_pb2.TAG_FINALITY_LOOKAHEAD,
    TagFinality.SENTENCE: tagging_pb2.TAG_FINALITY_SENTENCE,
}
_RULES: Final = {
    SentenceRule.CLIENT: tagging_pb2.SENTENCE_RULE_CLIENT,
    SentenceRule.NEWLINE: tagging_pb2.SENTENCE_RULE_NEWLINE,
    SentenceRule.PUNCTUATION: tagging_pb2.SENTENCE_RULE_PUNCTUATION,
}


class TagStreamOptions(TypedDict, total=False):
    """Keyword arguments of ``stream_tag``. Options that are missing or None get the server's defaults."""

    version: int | None
    """Version of the model, at least 1. Default: the newest version that serves."""
    lookahead: int | None
    """A tag is final once this many further tokens are there; for bidirectional models, which need the future. At most
    the server's limit (64)."""
    finality: TagFinality | None
    """When a tag becomes final. Default: LOOKAHEAD if ``lookahead`` is given; else at once for one-directional models,
    at the end of the sentence for bidirectional ones."""
    sentence_rule: SentenceRule | None
    """What ends a sentence besides SENTENCE_END. Default: CLIENT, nothing."""
    provisional: bool | None
    """Also send tags before they are final; they come again. Not where tags are final at once. Default: no."""
    decision_lag_max: int | None
    """For models with a CRF: most tokens that a decision is put off, which is made as soon as no later token can change
    it. Default, and limit: the server's (256)."""
    top_labels: int | None
    """Best labels to return for each token, in [0, 20]. Default: 0."""
    spans: bool | None
    """Also return spans, for models whose labels are BIO or BIOES; ``pieces()`` gives them. Default: no."""
    offset_unit: OffsetUnit | None
    """Unit of the offsets. Default: characters."""
    idle_timeout_s: float | None
    """Idle time without input after which the stream ends cleanly, in seconds. Default: the server's (300)."""
    snapshot: bytes | None
    """Continue from this snapshot of a one-directional model. Default: a new sequence."""
    return_snapshot: bool | None
    """Return the state at the end, in ``finished.state.snapshot``."""


@dataclass(frozen=True, slots=True)
class TagPiece:
    """Tags that came together.

    Attributes:
        tags: In order of position; a provisional tag is sent again.
        spans: Spans that have become final, if asked for.
    """

    tags: tuple[Tag, ...]
    spans: tuple[TagSpan, ...]


@dataclass(frozen=True, slots=True)
class TagFinished:
    """The end of a stream of tags.

    Attributes:
        tokens: Tokens tagged.
        reason: Why it ended.
        state: The state after the request.
        timing: Times on the server.
    """

    tokens: int
    reason: StreamEnd
    state: StateResult
    timing: Timing


def tag_codec(
    model: str, *, state: state_pb2.StateOptions | None = None, **options: Unpack[TagStreamOptions]
) -> StreamCodec[TagPiece, Tag, TagFinished]:
    """The codec for a stream of tags. Only the given options are sent.

    Raises:
        TypeError: If an option is not known or of the wrong type.
        ValueError: If a number does not fit its field, or a word is none of those there are.
    """
    check_options(options, TagStreamOptions, "stream_tag")
    lookahead, finality, rule = options.get("lookahead"), options.get("finality"), options.get("sentence_rule")
    if finality is None and lookahead is not None:
        finality = TagFinality.LOOKAHEAD
    config = tagging_pb2.StreamTagConfig(
        model=model_ref(model, options.get("version")),
        outputs=tag_outputs(options.get("top_labels"), options.get("offset_unit"), spans=options.get("spans") or False),
        state=state or carried_state(options.get("snapshot"), returned=options.get("return_snapshot") or False),
        finality=None if finality is None else _FINALITIES[TagFinality(finality)],
        lookahead=lookahead,
        sentence_rule=None if rule is None else _RULES[SentenceRule(rule)],
        provisional=options.get("provisional") or False,
        decision_lag_max=options.get("decision_lag_max"),
        idle_timeout=duration(options.get("idle_timeout_s"), "idle_timeout_s"),
    )
    return StreamCodec(tagging_pb2.StreamTagRequest(config=config), _piece, lambda piece: piece.tags, _finished)


def _piece(message: tagging_pb2.StreamTagPiece) -> TagPiece:
    return TagPiece(tuple(map(tag_from_wire, message.tags)), tuple(map(span_from_wire, message.spans)))


def _finished(message: tagging_pb2.StreamTagFinished) -> TagFinished:
    return TagFinished(
        tokens=message.tokens,
        reason=stream_end(message.reason),
        state=state_from_wire(message.state),
        timing=timing_from_wire(message.timing),
    )
