"""Streaming scores: options, results, and codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypedDict, Unpack

from seqserve.client.core.stream import Flush, StreamCodec, StreamEnd, check_options, stream_end
from seqserve.client.errors import ProtocolError
from seqserve.client.types.answer import StateResult, Timing, model_ref, state_from_wire, timing_from_wire
from seqserve.client.types.logprobs import TokenLogprob, logprobs_from_wire
from seqserve.client.types.sessions import carried_state, duration
from seqserve.v1 import generation_pb2, state_pb2

ScoreItem: TypeAlias = str | Sequence[int] | Flush
"""What a source of `stream_score` yields: text cut anywhere (str), token ids, or FLUSH."""


class ScoreStreamOptions(TypedDict, total=False):
    """Keyword arguments of ``stream_score``. Options that are missing or None get the server's defaults."""

    version: int | None
    """Version of the model, at least 1. Default: the newest version that serves."""
    logprobs: int | None
    """Likeliest tokens to return at each place, in [0, 20]. Default: 0, only the one that stood there."""
    idle_timeout_s: float | None
    """Idle time without input after which the stream ends cleanly, in seconds. Default: the server's (300)."""
    snapshot: bytes | None
    """Continue from this snapshot. Default: a new sequence."""
    return_snapshot: bool | None
    """Return the state at the end, in ``finished.state.snapshot``."""


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of the stream, and how likely it was there.

    Attributes:
        chosen: The token that stood there.
        top: The likeliest tokens, best first; as many as were asked for.
        start: Where it starts in the text, in characters from the stream's beginning; a token inside a
            character has that character's place, one that was sent as an id an empty one.
        end: Where it ends, the first place after it.
        position: Tokens in the sequence before it.
    """

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...]
    start: int
    end: int
    position: int


@dataclass(frozen=True, slots=True)
class ScoreFinished:
    """The end of a stream of scores.

    Attributes:
        logprob: Sum of its tokens' log-probabilities, in nats.
        scored_tokens: Tokens in that sum; the first token of a new sequence has no probability unless the model has a
            start token.
        perplexity: exp(-logprob / scored_tokens); 1 if nothing was scored.
        reason: Why it ended.
        state: The state after the request.
        timing: Times on the server.
    """

    logprob: float
    scored_tokens: int
    perplexity: float
    reason: StreamEnd
    state: StateResult
    timing: Timing


ScorePiece: TypeAlias = tuple[ScoredToken, ...]
"""Scores that came together."""


def score_codec(
    model: str, *, state: state_pb2.StateOptions | None = None, **options: Unpack[ScoreStreamOptions]
) -> StreamCodec[ScorePiece, ScoredToken, ScoreFinished]:
    """The codec for a stream of scores. Only the given options are sent.

    Raises:
        TypeError: If an option is not known or of the wrong type.
        ValueError: If a number does not fit its field.
    """
    check_options(options, ScoreStreamOptions, "stream_score")
    config = generation_pb2.StreamScoreConfig(
        model=model_ref(model, options.get("version")),
        top_logprobs=options.get("logprobs"),
        state=state or carried_state(options.get("snapshot"), returned=options.get("return_snapshot") or False),
        idle_timeout=duration(options.get("idle_timeout_s"), "idle_timeout_s"),
    )
    return StreamCodec(generation_pb2.StreamScoreRequest(config=config), _piece, lambda piece: piece, _finished)


def _piece(message: generation_pb2.StreamScorePiece) -> ScorePiece:
    if len(message.offsets) != len(message.tokens):
        raise ProtocolError(f"the server sent {len(message.tokens)} scores with {len(message.offsets)} places")
    steps = zip(logprobs_from_wire(message.tokens), message.offsets, strict=True)
    return tuple(
        ScoredToken(step.chosen, step.top, place.start, place.end, position)
        for position, (step, place) in enumerate(steps, message.position)
    )


def _finished(message: generation_pb2.StreamScoreFinished) -> ScoreFinished:
    return ScoreFinished(
        logprob=message.total.logprob,
        scored_tokens=message.total.scored_tokens,
        perplexity=message.total.perplexity,
        reason=stream_end(message.reason),
        state=state_from_wire(message.state),
        timing=timing_from_wire(message.timing),
    )
