"""What the engine has to give, written from the contract, for one sequence, one token at a time, in plain Python.

Slow and simple on purpose: no batch, no scheduler, no cache, none of the server's code but the graph itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from seqserve.server.decoding.sampling import SamplingSpec
from seqserve.server.engine.requests import GenerationRequest, StoppingSpec
from seqserve.server.model.inputs import token_inputs
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray, State
from seqserve.v1 import manifest_pb2 as pb

NEVER = -math.inf


@cache
def uniforms(seed: int, sample: int, count: int) -> list[float]:
    """The i-th is that of position i: "the i-th number of Philox4x64-10 with key (seed, sample index)"."""
    key = np.array([seed, sample], dtype=np.uint64)
    numbers: list[float] = np.random.Generator(np.random.Philox(key=key)).random(count).tolist()
    return numbers


def draw(
    logits: Sequence[float],
    spec: SamplingSpec,
    u: float,
    prompt: Sequence[int],
    generated: Sequence[int],
    barred: frozenset[int] = frozenset(),
) -> int:
    """One token, as the comments of SamplingParams and StoppingParams say."""
    scores = [float(logit) for logit in logits]
    for token in {*prompt, *generated}:
        penalty = spec.repetition_penalty
        scores[token] = scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
    for token in set(generated):
        scores[token] -= spec.frequency_penalty * generated.count(token)
        scores[token] -= spec.presence_penalty
    for token, bias in spec.logit_bias.items():
        scores[token] += bias
    for token in range(len(scores)):
        if (spec.allowed and token not in spec.allowed) or token in spec.banned or token in barred:
            scores[token] = NEVER
    if spec.temperature == 0:
        return scores.index(max(scores))
    scores = [score / spec.temperature for score in scores]
    if 0 < spec.top_k < len(scores):
        last = sorted(scores, reverse=True)[spec.top_k - 1]
        scores = [score if score >= last else NEVER for score in scores]
    weights = [math.exp(score - max(scores)) for score in scores]
    if spec.top_p < 1:
        weights = _fewest(weights, spec.top_p)
    weights = [weight if weight >= spec.min_p * max(weights) else 0.0 for weight in weights]
    total = 0.0
    for weight in weights:
        total += weight
    reached = 0.0
    for token, weight in enumerate(weights):
        reached += weight
        if reached > u * total:
            return token
    raise AssertionError("u is below 1, so the sum exceeds u * total at some token")


def _fewest(weights: Sequence[float], share: float) -> list[float]:
    """The fewest likeliest that add up to at least the share; of equals the lower id first."""
    order = sorted(range(len(weights)), key=lambda token: (-weights[token], token))
    total = 0.0
    for token in order:
        total += weights[token]
    kept = [0.0] * len(weights)
    reached = 0.0
    for token in order:
        if reached >= share * total:
            break
        kept[token] = weights[token]
        reached += weights[token]
    return kept


@dataclass(frozen=True)
class Text:
    """What one sample has to be, and whether a token or a stop string ended it, or the limit."""

    tokens: tuple[int, ...]
    stopped: bool


@dataclass(frozen=True)
class Past:
    """What a sequence holds before a request: all its tokens, and those of them that were generated."""

    tokens: tuple[int, ...] = ()
    generated: tuple[int, ...] = ()

    def plus(self, prompt: Sequence[int], generated: Sequence[int] = ()) -> Past:
        """After a request."""
        return Past((*self.tokens, *prompt, *generated), (*self.generated, *generated))


NOTHING = Past()


class Oracle:
    """Runs one sequence alone, a token a step; remembers what it found."""

    def __init__(self, servable: Servable, table: Sequence[bytes]) -> None:
        self._servable = servable
        self._table = table
        self._texts: dict[tuple[object, ...], Text] = {}
        self._prompts: dict[tuple[int, ...], tuple[list[FloatArray], State]] = {}

    def text(self, request: GenerationRequest, sample: int = 0, past: Past = NOTHING) -> Text:
        """The whole text of a sample, whatever of it the request has received already."""
        prompt: list[int] = request.inputs.arrays[pb.TENSOR_ROLE_TOKENS].tolist()
        spec = request.sampling
        key = (*past.tokens, *prompt, None, *past.generated, repr(spec), repr(request.stopping), sample)
        if key not in self._texts:
            self._texts[key] = self._generate([*past.tokens, *prompt], spec, request.stopping, sample, past.generated)
        return self._texts[key]

    def initial_state(self) -> State:
        """Before the first token."""
        return self._servable.initial_state()

    def read(self, prompt: list[int]) -> tuple[list[FloatArray], State]:
        """The graph's outputs at the prompt's last token, and the state after it."""
        if tuple(prompt) not in self._prompts:
            known = next((size for size in range(len(prompt), 0, -1) if tuple(prompt[:size]) in self._prompts), 0)
            state = self._prompts[tuple(prompt[:known])][1] if known else self._servable.initial_state()
            for token in prompt[known:]:
                outputs, state = self._servable.run([token_inputs([token])], state)
            self._prompts[tuple(prompt)] = outputs, state
        return self._prompts[tuple(prompt)]

    def _generate(
        self, prompt: list[int], spec: SamplingSpec, stopping: StoppingSpec, sample: int, before: tuple[int, ...]
    ) -> Text:
        outputs, state = self.read(prompt)
        generated: list[int] = []
        text = b""
        numbers = uniforms(spec.seed, sample, 1024)
        while True:
            barred = stopping.ends if len(generated) < stopping.min_tokens else frozenset[int]()
            logits: list[float] = outputs[0][0, 0].tolist()
            token = draw(logits, spec, numbers[len(prompt) + len(generated)], prompt, [*before, *generated], barred)
            generated.append(token)
            text += self._table[token]
            if token in stopping.ends or any(stop.encode() in text for stop in stopping.stop):
                return Text(tuple(generated), stopped=True)
            if len(generated) == stopping.max_tokens:
                return Text(tuple(generated), stopped=False)
            outputs, state = self._servable.run([token_inputs([token])], state)

    def search(self, request: GenerationRequest, past: Past = NOTHING) -> list[tuple[tuple[int, ...], float]]:
        """What a beam search finds, best first: texts and their log-probabilities."""
        beams, stopping = request.beams, request.stopping
        assert beams is not None
        outputs, state = self.read([*past.tokens, *request.inputs.arrays[pb.TENSOR_ROLE_TOKENS].tolist()])
        running: list[tuple[tuple[int, ...], float, list[float], State]] = [
            ((), 0.0, _log_softmax(outputs[0][0, 0].tolist()), state)
        ]
        found: list[tuple[tuple[int, ...], float]] = []
        while True:
            grown = sorted(
                (-(total + logprob), row, token)
                for row, (_, total, logprobs, _) in enumerate(running)
                for token, logprob in enumerate(logprobs)
            )
            found += [
                ((*running[row][0], token), -minus)
                for minus, row, token in grown[: beams.width]
                if token in stopping.ends
            ]
            active = [entry for entry in grown if entry[2] not in stopping.ends][: beams.width]
            done = len(found) >= beams.width or len(running[0][0]) + 1 == stopping.max_tokens
            following = []
            for minus, row, token in active:
                text, state = (*running[row][0], token), running[row][3]
                if not done:
                    outputs, state = self._servable.run([token_inputs([token])], state)
                following.append((text, -minus, _log_softmax(outputs[0][0, 0].tolist()), state))
            running = following
            if done:
                found += [(text, total) for text, total, _, _ in running]
                found.sort(key=lambda entry: -entry[1] / len(entry[0]) ** beams.length_penalty)
                return found[: request.samples]

    def logprobs(self, tokens: Sequence[int], past: Past = NOTHING) -> list[float]:
        """The log-probability of each token but a sequence's first."""
        if past.tokens:
            return self.logprobs([*past.tokens, *tokens])[len(past.tokens) - 1 :]
        state = self._servable.initial_state()
        found: list[float] = []
        for token, following in itertools.pairwise(tokens):
            outputs, state = self._servable.run([token_inputs([token])], state)
            found.append(_log_softmax(outputs[0][0, 0].tolist())[following])
        return found


def _log_softmax(scores: list[float]) -> list[float]:
    highest = max(scores)
    total = math.log(math.fsum(math.exp(score - highest) for score in scores))
    return [score - highest - total for score in scores]
