"""Log-probabilities of tokens, which generation and scoring return on request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seqserve.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token and its log-probability.

    Attributes:
        token_id: Id in the vocabulary.
        token: Its text alone; U+FFFD stands for bytes that are not whole UTF-8 by themselves.
        logprob: Natural logarithm of its probability, in nats, at most 0.
        rank: Place among all tokens by probability; the likeliest has rank 1.
    """

    token_id: int
    token: str
    logprob: float
    rank: int


@dataclass(frozen=True, slots=True)
class StepLogprobs:
    """The token of one step, and the likeliest alternatives.

    Attributes:
        chosen: The token that was chosen, or that stood there.
        top: The likeliest tokens, best first; as many as the request asked for.
    """

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...]


def logprobs_from_wire(messages: Iterable[common_pb2.StepLogprobs]) -> tuple[StepLogprobs, ...]:
    """The log-probabilities of several steps."""
    return tuple(
        StepLogprobs(token_from_wire(step.chosen), tuple(token_from_wire(other) for other in step.top))
        for step in messages
    )


def token_from_wire(message: common_pb2.TokenLogprob) -> TokenLogprob:
    """The token of a message."""
    return TokenLogprob(message.token_id, message.token, message.logprob, message.rank)
