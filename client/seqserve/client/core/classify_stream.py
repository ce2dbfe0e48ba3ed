"""Streaming classification: options, results, and codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypedDict, Unpack

from seqserve.client.core.stream import Flush, StreamCodec, StreamEnd, check_options, stream_end
from seqserve.client.types.answer import StateResult, Timing, model_ref, state_from_wire, timing_from_wire
from seqserve.client.types.classification import Classification, classification_from_wire
from seqserve.client.types.sessions import carried_state, duration
from seqserve.v1 import classification_pb2, state_pb2

ClassifyItem: TypeAlias = str | Sequence[str] | Sequence[int] | Flush
"""What a source of `stream_classify` yields: text (str), words or token ids, all of one form; and FLUSH."""


class ClassifyStreamOptions(TypedDict, total=False):
    """Keyword arguments of ``stream_classify``. Options that are missing or None get the server's defaults."""

    version: int | None
    """Version of the model, at least 1. Default: the newest version that serves."""
    top_labels: int | None
    """Best labels to return, in [1, 100]. Default: all."""
    idle_timeout_s: float | None
    """Idle time without input after which the stream ends cleanly, in seconds. Default: the server's (300)."""
    snapshot: bytes | None
    """Continue from this snapshot. Default: a new sequence."""
    return_snapshot: bool | None
    """Return the state at the end, in ``finished.state.snapshot``."""


@dataclass(frozen=True, slots=True)
class ClassifyFinished:
    """The end of a stream of classifications.

    Attributes:
        classification: What the whole is; None if no tokens came.
        reason: Why it ended.
        state: The state after the request.
        timing: Times on the server.
    """

    classification: Classification | None
    reason: StreamEnd
    state: StateResult
    timing: Timing


def classify_codec(
    model: str, *, state: state_pb2.StateOptions | None = None, **options: Unpack[ClassifyStreamOptions]
) -> StreamCodec[Classification, Classification, ClassifyFinished]:
    """The codec for a stream of classifications. Only the given options are sent.

    Raises:
        TypeError: If an option is not known or of the wrong type.
        ValueError: If a number does not fit its field.
    """
    check_options(options, ClassifyStreamOptions, "stream_classify")
    config = classification_pb2.StreamClassifyConfig(
        model=model_ref(model, options.get("version")),
        top_labels=options.get("top_labels"),
        state=state or carried_state(options.get("snapshot"), returned=options.get("return_snapshot") or False),
        idle_timeout=duration(options.get("idle_timeout_s"), "idle_timeout_s"),
    )
    opening = classification_pb2.StreamClassifyRequest(config=config)
    return StreamCodec(opening, _piece, lambda answer: (answer,), _finished)


def _piece(message: classification_pb2.StreamClassifyUpdate) -> Classification:
    return classification_from_wire(message.classification)


def _finished(message: classification_pb2.StreamClassifyFinished) -> ClassifyFinished:
    return ClassifyFinished(
        classification=classification_from_wire(message.classification) if message.HasField("classification") else None,
        reason=stream_end(message.reason),
        state=state_from_wire(message.state),
        timing=timing_from_wire(message.timing),
    )
