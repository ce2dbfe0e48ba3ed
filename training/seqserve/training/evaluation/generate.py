"""Generation in torch, in process, as SamplingParams defines it: a server draws the same tokens for the same seed.

How a token is drawn from float32 logits, in this order:

1. temperature 0: the highest logit wins, the lowest id if several are highest. Nothing else applies.
2. The logits become float64 and are divided by the temperature.
3. top_k: tokens whose logit is at least the k-th highest stay.
4. w = exp(logit - highest logit); tokens that are gone have w = 0. Their probabilities are w / sum(w).
5. top_p: in order of falling w, the lower id first among equals, the fewest tokens stay whose w add up to at least
   top_p times the last of these sums.
6. min_p: tokens whose w is below min_p times the highest w are gone.
7. w is summed in order of token id; the first token at which the sum exceeds u times the last sum is drawn.

All sums are running sums, one addition after the other. temperature, top_p, and min_p are rounded to float32 first,
as in the API.

u is number i (from 0) of ``numpy.random.Generator(numpy.random.Philox(key=[seed, sample])).random()``, where i is the
position of the token to draw: the number of tokens before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from seqserve.training.networks import LanguageModel

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
NUMBERS_PER_BLOCK = 4
"""Philox4x64 makes four numbers for each value of its counter."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; names and ranges as in SamplingParams."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        """Round to float32, as the wire does."""
        for name in ("temperature", "top_p", "min_p"):
            object.__setattr__(self, name, float(np.float32(getattr(self, name))))


def generate(
    network: LanguageModel,
    prompt: Sequence[int],
    *,
    sampling: Sampling,
    seed: int,
    sample: int = 0,
    tokens_max: int,
) -> list[int]:
    """Draw tokens that go on from a prompt.

    Args:
        network: the model; it is put into evaluation mode.
        prompt: at least one token id; the next token's position is their number.
        sampling: how tokens are drawn.
        seed: in [0, 2^64).
        sample: index of the sample, in [0, 64).
        tokens_max: how many tokens to draw.
    Raises: ValueError if the prompt is empty.
    """
    if not prompt:
        raise ValueError("the prompt is empty: expected at least one token")
    network.eval()
    state = network.stack.initial_state(1)
    fresh, drawn = list(prompt), list[int]()
    numbers = uniforms(seed, sample, start=len(prompt))
    with torch.inference_mode():
        for _ in range(tokens_max):
            logits_TBV, state = network(torch.tensor(fresh).reshape(-1, 1), None, state)
            drawn.append(draw(logits_TBV[-1, 0].numpy(), sampling, next(numbers)))
            fresh = drawn[-1:]
    return drawn


def draw(logits_V: FloatArray, sampling: Sampling, u: float) -> int:
    """Draw one token id from float32 logits (V), with ``u`` uniform in [0, 1)."""
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    scaled_V = logits_V.astype(np.float64) / sampling.temperature
    weights_V: DoubleArray = np.exp(scaled_V - scaled_V.max())
    if 0 < sampling.top_k < len(scaled_V):
        weights_V[scaled_V < np.sort(scaled_V)[-sampling.top_k]] = 0.0
    if sampling.top_p < 1:
        order = np.argsort(-weights_V, kind="stable")
        sums = np.cumsum(weights_V[order])
        weights_V[order[np.count_nonzero(sums < sampling.top_p * sums[-1]) + 1 :]] = 0.0
    weights_V[weights_V < sampling.min_p * weights_V.max()] = 0.0
    sums = np.cumsum(weights_V)
    return int(np.count_nonzero(sums <= u * sums[-1]))


def uniforms(seed: int, sample: int, *, start: int) -> Iterator[float]:
    """The numbers of (seed, sample) from position ``start`` on, float64 in [0, 1)."""
    bits = np.random.Philox(key=np.array([seed, sample], dtype=np.uint64))
    bits.advance(start // NUMBERS_PER_BLOCK)
    generator = np.random.Generator(bits)
    generator.random(start % NUMBERS_PER_BLOCK)
    while True:
        yield float(generator.random())
