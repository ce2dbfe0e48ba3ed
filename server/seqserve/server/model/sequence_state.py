"""Where a sequence begins and what it leaves: the two ends of a request that carries state.

A language model's state trails its text by one token: it has consumed all tokens of the sequence but the last, which is
fed first when the sequence goes on. The state of a tagger or a classifier has consumed everything.

Axes: N distinct tokens, P prompt tokens, G generated tokens, K kept tokens, R tokens to be read again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from seqserve.server.model.inputs import IntArray
from seqserve.server.model.state import State


def no_tokens() -> IntArray:
    """An empty run of tokens."""
    return np.empty(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class TokenCounts:
    """How often each token occurred in a sequence; what the penalties need to know of it.

    ids: int32 (N,), ascending. prompt, generated: int32 (N,), times it occurred in prompts, and was generated.
    """

    ids: IntArray = field(default_factory=no_tokens)
    prompt: IntArray = field(default_factory=no_tokens)
    generated: IntArray = field(default_factory=no_tokens)

    def plus(self, prompt: IntArray, generated: IntArray) -> TokenCounts:
        """The counts after more tokens. Args: prompt: int32 (P,). generated: int32 (G,)."""
        size = 1 + max((int(tokens.max()) for tokens in (self.ids, prompt, generated) if len(tokens)), default=-1)
        prompts, generations = np.bincount(prompt, minlength=size), np.bincount(generated, minlength=size)
        prompts[self.ids] += self.prompt
        generations[self.ids] += self.generated
        ids = np.flatnonzero(prompts + generations)
        return TokenCounts(ids.astype(np.int32), prompts[ids].astype(np.int32), generations[ids].astype(np.int32))


@dataclass(frozen=True, slots=True)
class Sentence:
    """Where a tagger is in its sentence; other models know none, and are always in the first.

    position: of the sentence's first token; of what comes next, if the last sentence has ended.
    last_label: models with a CRF: the last token's, by index; None at a sentence's beginning.
    """

    position: int = 0
    last_label: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SequenceState:
    """Where a sequence begins.

    state: after all tokens but last_token, arrays (D, 1, H); None: the model's initial state.
    position: tokens in the sequence so far.
    last_token: language models: the last of them; None at position 0.
    counts, undecoded: language models: of all tokens so far, and bytes at their end that are not yet whole UTF-8, at
        most 3.
    tokens: int32 (K,), all tokens so far if they are kept, else empty.
    sentence: where a tagger is in it.
    replay: int32 (R,), tokens that are read from the model's initial state before all others, for the model is another
        one than the state's; else empty. Where there are any, state is None.
    seed: of a request that was applied before and is repeated; None: the request's own.
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
        """A new sequence."""
        return cls()

    @property
    def pending(self) -> IntArray:
        """Tokens of the sequence that the model is fed before a request's own, int32: none if it is new."""
        return self.replay if self.last_token is None else np.append(self.replay, np.int32(self.last_token))


@dataclass(frozen=True, slots=True, eq=False)
class FinalState:
    """What a request leaves.

    state: after all tokens of the sequence but last_token, arrays (D, 1, H); None only where nobody wants it.
    position: tokens in the sequence. last_token: language models: the last of them; None at position 0.
    prompt_tokens: int32 (P,), the tokens that this request read, a model's start token included. Of streams, and models
        that are no language models: only where tokens are kept.
    generated_tokens: int32 (G,), the tokens that it generated after them, the ones that ended it included.
    undecoded: bytes at the sequence's end that are not yet whole UTF-8, at most 3. seed: that it drew with; 0: it drew
        nothing. sentence: where a tagger is in it.
    counts: language models: of all tokens of the sequence, if they were counted as they came; None: those above tell.
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
