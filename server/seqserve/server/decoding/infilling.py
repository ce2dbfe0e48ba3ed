"""What may stand in a blank, out of an infilling model's logits: the likeliest tokens that can stand in a text.

Axes: N blanks, V vocabulary.
"""

from __future__ import annotations

from seqserve.server.decoding.logprobs import Candidate, likeliest, log_softmax
from seqserve.server.model.state import FloatArray
from seqserve.v1 import manifest_pb2


def candidates(logits_NV: FloatArray, top: int, vocabulary: manifest_pb2.Vocabulary) -> list[list[Candidate]]:
    """For each blank its likeliest tokens, best first; ties go to the lower id.

    The tokens for unknown words and for blanks are never an answer, but they have their probability and their rank, so
    ranks may have gaps.

    Args: top: how many tokens; fewer if the vocabulary has no more.
    """
    logprobs_NV = log_softmax(logits_NV)
    barred = _no_words(vocabulary)
    order_NK = likeliest(logprobs_NV, top + len(barred))
    return [
        [
            Candidate(token, float(logprobs_V[token]), rank)
            for rank, token in enumerate(order_K.tolist(), 1)
            if token not in barred
        ][:top]
        for logprobs_V, order_K in zip(logprobs_NV, order_NK, strict=True)
    ]


def _no_words(vocabulary: manifest_pb2.Vocabulary) -> set[int]:
    """Ids that stand for no token of a text."""
    return {getattr(vocabulary, name) for name in ("unknown_token", "mask_token") if vocabulary.HasField(name)}
