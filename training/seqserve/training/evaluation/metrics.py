"""Figures of a model on a data set, by one way of counting for the network in torch and the graph in ONNX Runtime.

Axes: T time, B batch, V vocabulary, L labels, W bytes of a word. Logarithms are natural: losses are in nats.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from seqserve.training.arrays import Array, IntArray
from seqserve.training.data.blanks import evaluation_blanks
from seqserve.training.data.corpus import TokenText
from seqserve.training.data.padding import inside
from seqserve.training.data.sentences import TagData
from seqserve.training.data.sequences import SequenceBatch, SequenceData, batches
from seqserve.training.data.streams import NO_TARGET
from seqserve.training.data.texts import ClassData
from seqserve.training.evaluation.figures import Confusion, SpanCounts, precision_recall_f1
from seqserve.training.layers import crf
from seqserve.training.runner import Runner, carried, initial_states
from seqserve.training.tensors import long_tensor, tensor
from seqserve.v1 import manifest_pb2

WINDOW_STEPS = 1000
SEQUENCES = 64
UNITS = {
    "loss": "nats/token",
    "perplexity": "ratio",
    "bits_per_character": "bits/character",
    "accuracy": "ratio",
    "span_precision": "ratio",
    "span_recall": "ratio",
    "span_f1": "ratio",
    "label_precision": "ratio",
    "label_recall": "ratio",
    "label_f1": "ratio",
    "unseen_labels": "labels",
    "top_1": "ratio",
    "top_5": "ratio",
    "blanks": "tokens",
}
"""Every figure that can come out, with its unit."""


@dataclass(frozen=True)
class EvalResult:
    """What a model reached: its figures by name, and for labels which was taken for which."""

    figures: dict[str, float]
    confusion: Confusion | None = None


def evaluate_language_model(
    run: Runner, states: Sequence[manifest_pb2.StateSpec], text: TokenText, *, streams: int = 1
) -> dict[str, float]:
    """Loss of the next token over a text, with the state carried from the first token of each document to its last.

    Args:
        run: the model.
        states: its recurrent tensors.
        text: text to predict.
        streams: number of parallel rows, at most ``text.streams_max``. A single document is split into this number of
            parts, each from the initial state: faster, with a slightly higher loss, because each part lacks its
            context. With several documents each is read by one row, which has no effect on the loss.
    Returns: ``loss`` in nats a token, ``perplexity`` = exp(loss), ``bits_per_character`` = the loss of all tokens in
        bits over the characters that they stand for.
    """
    initial = initial_states(states, streams)
    state, total, count = initial, 0.0, 0
    for window in text.windows(streams=streams, steps=WINDOW_STEPS):
        begins_1B1 = window.begins[None, :, None]
        state = {name: np.where(begins_1B1, initial[name], state[name]) for name in initial}
        lengths_B = np.full(streams, len(window.inputs), dtype=np.int32)
        outputs = run({"tokens": window.inputs, "lengths": lengths_B, **state})
        state = carried(outputs, tuple(spec.input for spec in states))
        counted_TB = window.targets != NO_TARGET
        total += float(negative_log_likelihood(outputs["logits"][counted_TB], window.targets[counted_TB]).sum())
        count += int(counted_TB.sum())
    loss = total / count
    bits_per_character = loss * text.targets_per_character / math.log(2)
    return {"loss": loss, "perplexity": math.exp(loss), "bits_per_character": bits_per_character}


def evaluate_tagger(run: Runner, manifest: manifest_pb2.Manifest, data: TagData) -> EvalResult:
    """Loss and accuracy of a tagger, and F1 of spans if its labels write spans.

    Returns: ``accuracy``, right labels over all tokens: a label that training never had counts as wrong; ``loss``, in
        nats a token, over the tokens whose label training had (with a CRF: over sentences that have only such), 0 if
        there is none; ``span_precision``, ``span_recall``, ``span_f1``; ``unseen_labels``, tokens whose label training
        never had, if there are any.
    """
    labels, chain = manifest.labels, chain_scores(manifest.labels)
    loss, known, correct = 0.0, 0, 0
    counts, confusion = SpanCounts(), Confusion()
    for batch in batches(data, size=SEQUENCES):
        states = initial_states(manifest.states, len(batch.members))
        scores_TBL = run({**sequence_inputs(batch, manifest), **states})["scores"]
        labels_TB, inside_TB = data.label_rows(batch), inside(batch.lengths, len(batch.tokens)).T
        if chain is None:
            counted_TB, predicted_TB = labels_TB >= 0, scores_TBL.argmax(axis=-1)
            loss += float(negative_log_likelihood(scores_TBL[counted_TB], labels_TB[counted_TB]).sum())
        else:
            whole_B = np.all((labels_TB >= 0) | ~inside_TB, axis=0)
            counted_TB = inside_TB & whole_B
            scores, lengths_B = tensor(scores_TBL).double(), long_tensor(batch.lengths)
            predicted_TB = crf.viterbi(scores, lengths_B, chain).numpy()
            losses_B = crf.negative_log_likelihood(scores, long_tensor(labels_TB.clip(min=0)), lengths_B, chain)
            loss += float(losses_B.numpy()[whole_B].sum())
        known += int(counted_TB.sum())
        correct += int((predicted_TB == labels_TB)[inside_TB].sum())
        for column, member in enumerate(batch.members):
            path: list[int] = predicted_TB[: batch.lengths[column], column].tolist()
            predicted = [labels.names[label] for label in path]
            confusion.add(data.names[member], predicted)
            if labels.scheme != manifest_pb2.LABEL_SCHEME_NONE:
                counts.add(data.names[member], predicted, labels.scheme)
    figures = {"loss": loss / max(known, 1), "accuracy": correct / data.tokens}
    if labels.scheme != manifest_pb2.LABEL_SCHEME_NONE:
        figures |= counts.figures
    return EvalResult(figures | _unseen(data.unseen), confusion)


def chain_scores(labels: manifest_pb2.Labels) -> crf.ChainScores | None:
    """What a CRF adds to the scores of single labels, in float64; None without a CRF."""
    if not labels.transitions:
        return None
    count = len(labels.names)
    start_L, transitions, end_L = (
        torch.tensor(list(values), dtype=torch.float64)
        for values in (labels.start_scores, labels.transitions, labels.end_scores)
    )
    return crf.ChainScores(start_L, transitions.reshape(count, count), end_L)


def evaluate_classifier(run: Runner, manifest: manifest_pb2.Manifest, data: ClassData) -> EvalResult:
    """Loss and accuracy of a classifier; with several labels a text also F1 of the labels.

    Returns: ``accuracy``, texts whose label (with several labels: whose labels, all of them) was found: a label that
        training never had counts as wrong; ``loss``, in nats a text over the texts whose label training had (several:
        the mean of the labels' binary cross-entropies, over all texts); ``label_precision``, ``label_recall``,
        ``label_f1`` over all labels of all texts; ``unseen_labels``, as often as such a label occurs, if it does.
    """
    names, multiple = list(manifest.labels.names), manifest.labels.multiple
    loss, known, correct, expected_count, predicted_count, label_hits = 0.0, 0, 0, 0, 0, 0
    confusion = None if multiple else Confusion()
    for batch in batches(data, size=SEQUENCES):
        states = initial_states(manifest.states, len(batch.members))
        logits_BL = run({**sequence_inputs(batch, manifest), **states})["logits"].astype(np.float64)
        targets_BL = data.targets(batch)
        if multiple:
            loss += float((np.logaddexp(0.0, logits_BL) - targets_BL * logits_BL).mean(axis=1).sum())
            known += len(batch.members)
        else:
            seen_B = targets_BL.any(axis=1)
            places = targets_BL[seen_B].argmax(axis=1).astype(np.int32)
            loss += float(negative_log_likelihood(logits_BL[seen_B], places).sum())
            known += int(seen_B.sum())
        for row, member in enumerate(batch.members):
            predicted = {names[label] for label in chosen_labels(logits_BL[row], manifest.labels)}
            expected = set(data.names[member])
            correct += predicted == expected
            expected_count, predicted_count, label_hits = (
                expected_count + len(expected),
                predicted_count + len(predicted),
                label_hits + len(predicted & expected),
            )
            if confusion is not None:
                confusion.add(expected, predicted)
    figures = {"loss": loss / max(known, 1), "accuracy": correct / len(data.words)}
    if multiple:
        figures |= precision_recall_f1("label_", expected=expected_count, predicted=predicted_count, correct=label_hits)
    return EvalResult(figures | _unseen(data.unseen), confusion)


def chosen_labels(logits_L: Array, labels: manifest_pb2.Labels) -> list[int]:
    """The labels that hold: the likeliest, or with several those whose probability is at least the threshold."""
    if not labels.multiple:
        return [int(logits_L.argmax())]
    threshold = labels.threshold or 0.5
    return np.flatnonzero(logits_L >= math.log(threshold / (1 - threshold))).tolist()


def evaluate_infilling(run: Runner, manifest: manifest_pb2.Manifest, data: SequenceData, fraction: float) -> EvalResult:
    """How well blanks are filled: in every sequence this fraction of the tokens, at least one, is hidden at once.

    Returns: ``top_1`` and ``top_5``, the parts of the blanks whose token is the likeliest, or among the five likeliest;
        a word that the vocabulary does not have counts as wrong, and the tokens for unknown words and for blanks are
        never an answer; ``blanks``, how many there were; ``loss``, in nats a blank, over those whose word is known.
    """
    vocabulary = manifest.vocabulary
    no_answers = [vocabulary.unknown_token, vocabulary.mask_token]
    loss, blanks, known, first, among_five = 0.0, 0, 0, 0, 0
    for batch in batches(data, size=SEQUENCES):
        blank_TB = evaluation_blanks(batch, fraction)
        tokens_TB = np.where(blank_TB, np.int32(vocabulary.mask_token), batch.tokens)
        states = initial_states(manifest.states, len(batch.members))
        logits = run({"tokens": tokens_TB, "lengths": batch.lengths, **states})["logits"][blank_TB].astype(np.float64)
        targets = batch.tokens[blank_TB]
        seen = targets != vocabulary.unknown_token
        loss += float(negative_log_likelihood(logits[seen], targets[seen]).sum())
        logits[:, no_answers] = -np.inf
        ranks = (logits[seen] > np.take_along_axis(logits[seen], targets[seen][:, None], axis=1)).sum(axis=1)
        blanks, known = blanks + len(targets), known + int(seen.sum())
        first, among_five = first + int((ranks < 1).sum()), among_five + int((ranks < 5).sum())
    return EvalResult(
        {
            "loss": loss / max(known, 1),
            "top_1": first / blanks,
            "top_5": among_five / blanks,
            "blanks": float(blanks),
        }
    )


def _unseen(unseen: dict[str, int]) -> dict[str, float]:
    return {"unseen_labels": float(sum(unseen.values()))} if unseen else {}


def sequence_inputs(batch: SequenceBatch, manifest: manifest_pb2.Manifest) -> dict[str, Array]:
    """A batch as the inputs of a graph: tokens and lengths, and every word with its own spelling if it is read.

    Rows are whole: a graph that also gives forward states out does so after the first step, which is the cheapest.
    """
    inputs: dict[str, Array] = {"tokens": batch.tokens, "lengths": batch.lengths}
    if manifest.network.bidirectional and manifest.states:
        inputs["carry_lengths"] = np.ones_like(batch.lengths)
    if manifest.vocabulary.word_bytes_max:
        inside_TB = inside(batch.lengths, len(batch.tokens)).T
        inputs["word_bytes"] = np.where(inside_TB[..., None], batch.bytes[batch.words], 0).astype(np.int32)
        inputs["word_lengths"] = np.where(inside_TB, batch.byte_lengths[batch.words], 0).astype(np.int32)
    return inputs


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
