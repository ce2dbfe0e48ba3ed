"""Figures of a model on a data set, by one way of counting for the network in torch and the graph in ONNX Runtime.

Axes: T time, B batch, V vocabulary, L labels, W bytes of a word. Logarithms are natural: losses are in nats.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqserve.training.data.padding import inside
from seqserve.training.data.sentences import TagBatch, TagData, batches
from seqserve.training.data.streams import IntArray, windows
from seqserve.training.runner import Array, Runner, carried, zero_states
from seqserve.v1 import manifest_pb2

WINDOW_STEPS = 1000
SENTENCES = 64
UNITS = {"loss": "nats/token", "perplexity": "ratio", "bits_per_character": "bits/character", "accuracy": "ratio"}
"""Every figure that can come out, with its unit."""


def language_model(
    run: Runner, states: Sequence[manifest_pb2.StateSpec], ids: IntArray, *, streams: int = 1
) -> dict[str, float]:
    """Loss of the next token over a text, with the state carried from its first token to its last.

    Args:
        run: the model.
        states: its recurrent tensors.
        ids: int32 (tokens), at least ``streams`` + 1.
        streams: stretches to run side by side, each from the initial state; above 1 it is faster, and the loss a
            little higher, for each stretch begins without a past.
    Returns: ``loss`` in nats a token, ``perplexity`` = exp(loss), ``bits_per_character`` = loss / ln 2 (a token is a
        character).
    """
    names = tuple(state.input for state in states)
    state = zero_states(names, streams, states[0].size)
    total, count = 0.0, 0
    for window in windows(ids, streams=streams, steps=WINDOW_STEPS):
        lengths_B = np.full(streams, len(window.inputs), dtype=np.int32)
        outputs = run({"tokens": window.inputs, "lengths": lengths_B, **state})
        state = carried(outputs, names)
        total += float(negative_log_likelihood(outputs["logits"], window.targets).sum())
        count += window.targets.size
    loss = total / count
    return {"loss": loss, "perplexity": math.exp(loss), "bits_per_character": loss / math.log(2)}


def tagger(run: Runner, data: TagData) -> dict[str, float]:
    """Loss and accuracy of a tagger.

    Returns: ``accuracy``, right labels over all words: a label that training never had counts as wrong; ``loss``, in
        nats a word, over the words whose label training had (0 if there is none).
    """
    loss, known, right = 0.0, 0, 0
    for batch in batches(data, size=SENTENCES):
        scores_TBL = run(tagger_inputs(batch))["scores"]
        seen = batch.labels >= 0
        loss += float(negative_log_likelihood(scores_TBL[seen], batch.labels[seen]).sum())
        known += int(seen.sum())
        right += int((scores_TBL.argmax(axis=-1) == batch.labels)[seen].sum())
    return {"loss": loss / max(known, 1), "accuracy": right / data.tokens}


def tagger_inputs(batch: TagBatch) -> dict[str, Array]:
    """A batch as the inputs of a tagger's graph: every word with its own spelling."""
    inside_TB = inside(batch.lengths, len(batch.tokens)).T
    return {
        "tokens": batch.tokens,
        "lengths": batch.lengths,
        "word_bytes": np.where(inside_TB[..., None], batch.bytes[batch.words], 0).astype(np.int32),
        "word_lengths": np.where(inside_TB, batch.byte_lengths[batch.words], 0).astype(np.int32),
    }


def negative_log_likelihood(logits: Array, targets: IntArray) -> npt.NDArray[np.float64]:
    """-log softmax(logits)[target], in float64.

    Args:
        logits: float (..., V).
        targets: int (...), each in [0, V).
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, targets[..., None].astype(np.intp), axis=-1)[..., 0]
    result: npt.NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=-1)) - chosen
    return result
