"""What a caller asked, validated: nothing absent, nothing out of range, tokens looked up."""

from __future__ import annotations

from dataclasses import dataclass

from seqserve.server.decoding.sampling import SamplingSpec
from seqserve.server.model.inputs import Inputs, token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.v1 import manifest_pb2 as pb

_NEW = SequenceState.new()


@dataclass(frozen=True, slots=True)
class StoppingSpec:
    """When a generation ends. end_token: the model's, None to ignore it."""

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


@dataclass(frozen=True, slots=True)
class BeamSpec:
    """A beam search in place of sampling."""

    width: int
    length_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Received:
    """What the caller has of one sample's text already: its first tokens, and not the last held_bytes of their text.

    Only the last of the tokens may end the text.
    """

    tokens: tuple[int, ...]
    held_bytes: int = 0


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to generate. inputs: the prompt; at least one step, unless the sequence goes on.

    samples: texts from one prompt. prompt_logprobs: how many likeliest tokens to report at each step of the prompt,
    None for no report. start: where the sequence begins. received: to go on with a generation that broke: one a sample;
    empty: to begin. keeps_state: the final state is wanted.
    """

    inputs: Inputs
    sampling: SamplingSpec
    stopping: StoppingSpec
    samples: int = 1
    beams: BeamSpec | None = None
    prompt_logprobs: int | None = None
    start: SequenceState = _NEW
    received: tuple[Received, ...] = ()
    keeps_state: bool = False

    @property
    def position(self) -> int:
        """Of the first token to be generated: tokens in the sequence before it."""
        return self.start.position + len(self.inputs)


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """Read a whole input, at least one step, and give the graph's outputs for it.

    steps: those whose outputs are wanted, in order; None: all.
    """

    inputs: Inputs
    steps: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """Tell how likely each token of an input is, with this many likeliest ones at each step.

    start: where the sequence begins. keeps_state: the final state is wanted; it trails the input by one token.
    """

    inputs: Inputs
    top: int = 0
    start: SequenceState = _NEW
    keeps_state: bool = False


@dataclass(frozen=True, slots=True)
class StepStreamRequest:
    """Read inputs as they come, and give the graph's outputs for each step.

    start: where the sequence begins. keeps_state: the final state is wanted; it has consumed everything.
    lookahead: models that see the future: steps after a step that have to be there before its outputs are final; None:
    the rest of the sentence. provisional: tell outputs that are not final yet, too. top: give each step's own label in
    place of its scores, with this many of the likeliest ones; None: the scores.
    """

    start: SequenceState = _NEW
    keeps_state: bool = False
    lookahead: int | None = 0
    provisional: bool = False
    top: int | None = None


@dataclass(frozen=True, slots=True)
class ScoreStreamRequest:
    """Tell how likely each token is, as they come, with this many likeliest ones at each step.

    start: where the sequence begins. keeps_state: the final state is wanted; it trails the tokens by one.
    """

    top: int = 0
    start: SequenceState = _NEW
    keeps_state: bool = False


Request = GenerationRequest | ForwardRequest | ScoringRequest
StreamRequest = StepStreamRequest | ScoreStreamRequest  # their inputs come later, and over time


@dataclass(frozen=True, slots=True)
class Admission:
    """Under what terms a request is in line.

    caller: who asks, for fair turns. priority: higher goes first. deadline_s: moment on the engine's clock by which it
    has to be done; None: no limit.
    """

    caller: str = ""
    priority: int = 0
    deadline_s: float | None = None


def with_pending(start: SequenceState, inputs: Inputs) -> Inputs:
    """What the model is fed: tokens of the sequence that its state has not consumed, and the request's own."""
    if not len(start.pending):
        return inputs
    return token_inputs([*start.pending.tolist(), *inputs.arrays[pb.TENSOR_ROLE_TOKENS].tolist()])
