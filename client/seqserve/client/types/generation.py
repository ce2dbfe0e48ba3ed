"""The events of a generation as values: started, pieces, finished."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from seqserve.client.types import html
from seqserve.client.types.answer import (
    Servable,
    StateResult,
    Timing,
    servable_from_wire,
    state_from_wire,
    timing_from_wire,
)
from seqserve.client.types.logprobs import StepLogprobs, logprobs_from_wire
from seqserve.v1 import generation_pb2


class FinishReason(StrEnum):
    """Why a sample ended."""

    LENGTH = "LENGTH"
    """``max_tokens`` were generated."""
    STOP = "STOP"
    """A stop string or stop token came."""
    EOS = "EOS"
    """The model's end-of-sequence token came."""
    CANCELLED = "CANCELLED"
    """The call was cancelled."""
    DEADLINE = "DEADLINE"
    """The call's deadline passed."""
    ERROR = "ERROR"
    """The server failed."""
    UNKNOWN = "UNKNOWN"
    """A reason that this client does not know; the server is newer."""


_REASONS: Final = {
    generation_pb2.FINISH_REASON_LENGTH: FinishReason.LENGTH,
    generation_pb2.FINISH_REASON_STOP: FinishReason.STOP,
    generation_pb2.FINISH_REASON_EOS: FinishReason.EOS,
    generation_pb2.FINISH_REASON_CANCELLED: FinishReason.CANCELLED,
    generation_pb2.FINISH_REASON_DEADLINE: FinishReason.DEADLINE,
    generation_pb2.FINISH_REASON_ERROR: FinishReason.ERROR,
}


@dataclass(frozen=True, slots=True)
class GenerationStarted:
    """The request was admitted and its prompt processed.

    Attributes:
        servable: The servable that answers.
        seed: The seed of this generation, requested or drawn by the server.
        prompt_tokens: Tokens of the prompt, start token included.
        position: Tokens in the sequence before the first one to be generated.
        prompt_logprobs: One a token of the prompt but the sequence's first, if asked for.
    """

    servable: Servable
    seed: int
    prompt_tokens: int
    position: int
    prompt_logprobs: tuple[StepLogprobs, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of one sample's text.

    Attributes:
        sample: Which sample, in [0, n).
        text: Text since the piece before, always whole characters; may be empty.
        token_ids: Tokens since the piece before; text that may begin a stop string comes later than its tokens.
        logprobs: One a token, if asked for.
        position: Position of the piece's first token in the sequence.
    """

    sample: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[StepLogprobs, ...]
    position: int


@dataclass(frozen=True, slots=True)
class SampleFinished:
    """The end of one sample.

    Attributes:
        sample: Which sample.
        reason: Why it ended.
        matched_stop: The stop string that ended it, if one did.
        matched_token: The stop token that ended it, if one did.
        tokens: Tokens generated, the ones that ended it included.
        logprob: Sum of the chosen tokens' log-probabilities in nats, if asked for or samples are ranked.
    """

    sample: int
    reason: FinishReason
    matched_stop: str | None
    matched_token: int | None
    tokens: int
    logprob: float | None


@dataclass(frozen=True, slots=True)
class GenerationFinished:
    """The end of a generation.

    Attributes:
        samples: One a sample, in order of its index.
        prompt_tokens: Tokens of the prompt, start token included.
        generated_tokens: Tokens generated, all samples together.
        cached_tokens: Prompt tokens whose state came from the server's prefix cache.
        timing: Times on the server.
        state: The state at the end; with several samples, of the first.
    """

    samples: tuple[SampleFinished, ...]
    prompt_tokens: int
    generated_tokens: int
    cached_tokens: int
    timing: Timing
    state: StateResult

    @property
    def reason(self) -> FinishReason:
        """Why the first sample ended; there is only one unless ``n`` was given."""
        return self.samples[0].reason


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A whole generation, from its start to its end.

    Attributes:
        texts: The text of each sample, in order of its index.
        started: The start of the generation.
        finished: The end of the generation.
    """

    texts: tuple[str, ...]
    started: GenerationStarted
    finished: GenerationFinished

    @property
    def text(self) -> str:
        """The text of the first sample."""
        return self.texts[0]

    def __repr__(self) -> str:
        more = f" and {len(self.texts) - 1} more" if len(self.texts) > 1 else ""
        return f"<GeneratedText {html.shortened(self.text)}{more}: {self.finished.reason}>"

    def _repr_html_(self) -> str:
        ends = zip(self.texts, self.finished.samples, strict=True)
        rows = [(end.sample, text, end.reason, end.tokens) for text, end in ends]
        return html.table("generated texts", ("sample", "text", "ended by", "tokens"), rows)


def started_from_wire(message: generation_pb2.GenerationStarted) -> GenerationStarted:
    """The event as a value."""
    return GenerationStarted(
        servable=servable_from_wire(message.servable),
        seed=message.seed,
        prompt_tokens=message.prompt_tokens,
        position=message.position,
        prompt_logprobs=logprobs_from_wire(message.prompt_logprobs),
    )


def piece_from_wire(message: generation_pb2.GenerationPiece) -> Piece:
    """The event as a value."""
    return Piece(
        sample=message.sample,
        text=message.text,
        token_ids=tuple(message.token_ids),
        logprobs=logprobs_from_wire(message.logprobs),
        position=message.position,
    )


def finished_from_wire(message: generation_pb2.GenerationFinished) -> GenerationFinished:
    """The event as a value."""
    return GenerationFinished(
        samples=tuple(_sample(one) for one in message.samples),
        prompt_tokens=message.prompt_tokens,
        generated_tokens=message.generated_tokens,
        cached_tokens=message.cached_tokens,
        timing=timing_from_wire(message.timing),
        state=state_from_wire(message.state),
    )


def _sample(message: generation_pb2.SampleFinished) -> SampleFinished:
    return SampleFinished(
        sample=message.sample,
        reason=_REASONS.get(message.reason, FinishReason.UNKNOWN),
        matched_stop=message.matched_stop or None,
        matched_token=message.matched_token if message.HasField("matched_token") else None,
        tokens=message.tokens,
        logprob=message.logprob if message.HasField("logprob") else None,
    )
