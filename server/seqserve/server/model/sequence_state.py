"""The state of a sequence before and after a request.

The state of a language model trails its text by one token: it has consumed all tokens of the sequence but the last,
which is fed first when the sequence continues. The state of a tagger or a classifier has consumed all tokens.

Axes: N distinct tokens, P prompt tokens, G generated tokens, K kept tokens, R replayed tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from seqserve.server.model.inputs import IntArray
from seqserve.server.model.state import State


def no_tokens() -> IntArray:
    """Returns an empty array of tokens, int32 (0)."""
    return np.empty(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class TokenCounts:
    """How often each token occurred in a sequence, for the penalties.

    Attributes:
        ids: int32 (N), ascending.
        prompt: int32 (N), occurrences in prompts.
        generated: int32 (N), occurrences in generated text.
    """

    ids: IntArray = field(default_factory=no_tokens)
    prompt: IntArray = field(default_factory=no_tokens)
    generated: IntArray = field(default_factory=no_tokens)

    def plus(self, prompt: IntArray, generated: IntArray) -> TokenCounts:
        """Returns the counts after more tokens.

        Args:
            prompt: int32 (P).
            generated: int32 (G).
        """
        size = 1 + max((int(tokens.max()) for tokens in (self.ids, prompt, generated) if len(tokens)), default=-1)
        prompts, generations = np.bincount(prompt, minlength=size), np.bincount(generated, minlength=size)
        prompts[self.ids] += self.prompt
        generations[self.ids] += self.generated
        ids = np.flatnonzero(prompts + generations)
        return TokenCounts(ids.astype(np.int32), prompts[ids].astype(np.int32), generations[ids].astype(np.int32))


@dataclass(frozen=True, slots=True)
class Sentence:
    """Position of a tagger in its sentence. Models without sentences are always in the first one.

    Attributes:
        position: Position of the sentence's first token, or of the next token if the last sentence has ended.
        last_label: Models with a CRF: index of the last token's label. None at the beginning of a sentence.
    """

    position: int = 0
    last_label: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SequenceState:
    """The state from which a request continues a sequence.

    Attributes:
        state: After all tokens but last_token, arrays (D, 1, H). None: the model's initial state.
        position: Number of tokens in the sequence.
        last_token: Language models: the last token. None at position 0.
        counts: Language models: counts of all tokens.
        undecoded: Language models: bytes at the end of the text that are not yet complete UTF-8, at most 3.
        tokens: int32 (K), all tokens if they are kept, otherwise empty.
        sentence: Taggers: position in the sentence.
        replay: int32 (R), tokens that the model reads from its initial state before all others, because the state
            belongs to another version. Otherwise empty. If not empty, state is None.
        seed: Seed of the first try, if the request repeats one that was applied. None: the request's own seed.
    """

    state: State | None = None
    position: int = 0
    last_token: int | None = None
    counts: TokenCounts = field(default_factory=TokenCounts)
    undecoded: bytes = b""
    tokens: IntArray = field(default_factory=no_tokens)
    sentence: Sentence = field(default_factory=Sentence)
    replay: IntArray = field(default_factory=no_tokens)
    seed: int | None = None

    @classmethod
    def new(cls) -> SequenceState:
        """Returns the state of a new sequence."""
        return cls()

    @property
    def pending(self) -> IntArray:
        """Tokens of the sequence that the model consumes before those of the request, int32. A new one has none."""
        return self.replay if self.last_token is None else np.append(self.replay, np.int32(self.last_token))


@dataclass(frozen=True, slots=True, eq=False)
class FinalState:
    """The state after a request.

    Attributes:
        state: After all tokens but last_token, arrays (D, 1, H). None only if it is not needed.
        position: Number of tokens in the sequence.
        last_token: Language models: the last token. None at position 0.
        prompt_tokens: int32 (P), tokens that the request read, including the model's start token. Client streams, and
            models that are not language models: only if tokens are kept.
        generated_tokens: int32 (G), tokens that the request generated, including those that ended it.
        undecoded: Bytes at the end of the text that are not yet complete UTF-8, at most 3.
        seed: Seed of the request. 0: it drew nothing.
        sentence: Taggers: position in the sentence.
        counts: Language models: counts of all tokens, if they were counted on the way. None: they have to be counted
            from the tokens above.
    """

    state: State | None
    position: int
    last_token: int | None
    prompt_tokens: IntArray
    generated_tokens: IntArray = field(default_factory=no_tokens)
    undecoded: bytes = b""
    seed: int = 0
    sentence: Sentence = field(default_factory=Sentence)
    counts: TokenCounts | None = None
