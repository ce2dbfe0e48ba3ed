"""Candidates for blanks, from an infilling model's logits: the most likely tokens that can be part of a text.

Axes: N blanks, V vocabulary.
"""

from __future__ import annotations

from seqserve.server.decoding.logprobs import Candidate, likeliest, log_softmax
from seqserve.server.model.manifest import Vocabulary
from seqserve.server.model.state import FloatArray


def candidates(logits_NV: FloatArray, top: int, vocabulary: Vocabulary) -> list[list[Candidate]]:
    """Returns the most likely tokens of each blank, best first; ties go to the lower ID.

    The tokens for unknown words and for blanks are never candidates, but they have a probability and a rank, so ranks
    may have gaps.

    Args:
        logits_NV: The model's outputs at the blanks.
        top: Maximum number of candidates of a blank. The vocabulary may have fewer.
        vocabulary: The manifest's vocabulary.
    """
    logprobs_NV = log_softmax(logits_NV)
    barred = _placeholder_ids(vocabulary)
    order_NK = likeliest(logprobs_NV, top + len(barred))
    return [
        [
            Candidate(token, float(logprobs_V[token]), rank)
            for rank, token in enumerate(order_K.tolist(), 1)
            if token not in barred
        ][:top]
        for logprobs_V, order_K in zip(logprobs_NV, order_NK, strict=True)
    ]


def _placeholder_ids(vocabulary: Vocabulary) -> set[int]:
    """Returns the IDs that stand for no token of a text."""
    return {getattr(vocabulary, name) for name in ("unknown_token", "mask_token") if vocabulary.HasField(name)}
