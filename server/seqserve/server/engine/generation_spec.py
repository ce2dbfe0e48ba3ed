"""What a generation is asked for: when it ends, beams, what the caller already has, and what it wants back."""

from __future__ import annotations

from dataclasses import dataclass

from seqserve.server.decoding.sampling import SamplingSpec
from seqserve.server.errors import InvalidFieldError


@dataclass(frozen=True, slots=True)
class StoppingSpec:
    """When a generation ends.

    Attributes:
        max_tokens: Maximum number of generated tokens.
        min_tokens: Number of tokens before which nothing but the maximum ends the text.
        stop: Strings that end the text.
        stop_tokens: Tokens that end the text.
        end_token: The model's end token; None to ignore it.
        include_stop: Whether a stop string is part of the text.
    """

    max_tokens: int
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_tokens: frozenset[int] = frozenset()
    end_token: int | None = None
    include_stop: bool = False

    @property
    def ends(self) -> frozenset[int]:
        """All tokens that end a text."""
        return self.stop_tokens if self.end_token is None else self.stop_tokens | {self.end_token}

    def check(self, sampling: SamplingSpec, vocabulary: int) -> None:
        """Checks that a text can reach its minimum length.

        Args:
            sampling: Which tokens are allowed and banned.
            vocabulary: Number of tokens.

        Raises:
            InvalidFieldError: No token may come before the minimum length.
        """
        allowed, never = sampling.allowed, sampling.banned | self.ends
        possible = len(allowed - never) if allowed else vocabulary - len(never)
        if self.min_tokens and possible <= 0:
            raise InvalidFieldError(
                f"stopping.min_tokens must be 0 if only tokens that end the text are allowed, got {self.min_tokens}; "
                "allow another token",
                field="stopping.min_tokens",
            )


@dataclass(frozen=True, slots=True)
class BeamSpec:
    """A beam search in place of sampling.

    Attributes:
        width: Number of beams.
        length_penalty: Exponent of the length by which the sum of log-probabilities is divided.
    """

    width: int
    length_penalty: float = 1.0

    def check(self, stopping: StoppingSpec, rows_max: int, vocabulary: int) -> None:
        """Checks the search against the batch and the model.

        Args:
            stopping: When the text ends.
            rows_max: Maximum number of sequences in a batch.
            vocabulary: Number of tokens.

        Raises:
            InvalidFieldError: More beams than there are rows in a batch, or tokens to begin with.
        """
        limit = min(rows_max, vocabulary - len(stopping.ends))
        if self.width > limit:
            raise InvalidFieldError(
                f"sampling.beam_width must be at most {limit} with this model and these stop tokens, got {self.width}",
                field="sampling.beam_width",
            )


@dataclass(frozen=True, slots=True)
class Received:
    """What the caller of a resumed generation already has of one sample.

    Attributes:
        tokens: The sample's first tokens. Only the last of them may end the text.
        held_bytes: Bytes at the end of their text that the caller does not have.
    """

    tokens: tuple[int, ...]
    held_bytes: int = 0


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """What the caller wants of a generation's result.

    Attributes:
        samples: Number of texts to return, the best of those that are generated; None: all of them.
        token_ids: Whether the ids of the tokens are returned beside the text.
        logprobs: Whether the log-probabilities of the tokens are returned.
    """

    samples: int | None = None
    token_ids: bool = True
    logprobs: bool = False
