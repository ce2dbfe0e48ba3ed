"""Classify and StreamClassify: the inputs of a request, and the labels that answer it."""

from __future__ import annotations

import numpy as np

from seqserve.server.classification import DoubleArray, chosen_labels, label_probabilities
from seqserve.server.convert.fields import integer, servable_id, task_name, timing
from seqserve.server.convert.pieces import Pieces
from seqserve.server.convert.texts import whole_texts
from seqserve.server.errors import EmptyPromptError, TaskMismatchError
from seqserve.server.inputs import IntArray
from seqserve.server.repository import Model
from seqserve.server.settings import LimitSettings
from seqserve.server.start import Ending, Start
from seqserve.server.state import FloatArray
from seqserve.server.stream import FeedEnd
from seqserve.server.tokenization import Tokenization, Tokenized
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2, state_pb2

_TOP_LABELS_MAX = 100


def classifier(model: Model) -> Tokenization:
    """The tokenization of a classifier. Raises: TaskMismatchError if the model is none."""
    if model.tokenization is None or model.manifest.task != manifest_pb2.TASK_CLASSIFICATION:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} is for {task_name(model)}, it does not classify texts; "
            "choose a classifier"
        )
    return model.tokenization


def classify_inputs(request: pb.ClassifyRequest, model: Model, limits: LimitSettings) -> list[Tokenized]:
    """Check a request and tokenize its inputs.

    Raises: TaskMismatchError if the model is no classifier; InvalidFieldError, EmptyPromptError, InputTooLongError,
        OutOfVocabularyError.
    """
    tokenized = whole_texts(request.inputs, classifier(model), limits, model.manifest.limits.tokens_max)
    for index, text in enumerate(tokenized):
        if not len(text.inputs):
            raise EmptyPromptError(
                f"inputs[{index}] has no tokens, there is nothing to classify; leave it out", field=f"inputs[{index}]"
            )
    return tokenized


def top_labels(message: pb.ClassifyRequest | pb.StreamClassifyConfig, model: Model, path: str = "") -> int:
    """How many labels are to be told; absent: all. Raises: InvalidFieldError."""
    return integer(message, "top_labels", len(model.manifest.labels.names), 1, _TOP_LABELS_MAX, path)


def classification(
    probabilities_L: DoubleArray, labels: manifest_pb2.Labels, top: int, tokens: int
) -> pb.Classification:
    """What a sequence of so many tokens is: its likeliest labels, ties in the model's order, and those that hold."""
    order: list[int] = np.argsort(-probabilities_L, kind="stable")[:top].tolist()
    return pb.Classification(
        labels=[common.LabelScore(label=labels.names[label], score=float(probabilities_L[label])) for label in order],
        chosen=[labels.names[label] for label in chosen_labels(probabilities_L, labels)],
        tokens=tokens,
    )


def pieces(model: Model, limits: LimitSettings, *, keeps_tokens: bool) -> Pieces:
    """The input of a stream.

    Args: keeps_tokens: whether all of its tokens are wanted at its end.
    Raises: TaskMismatchError if the model is no classifier, or not one-directional.
    """
    tokenization = classifier(model)
    if model.manifest.network.bidirectional:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} reads its input in both directions, so each piece would change what it "
            "made of all before; send the whole text to Classify, or choose a one-directional classifier"
        )
    return Pieces(tokenization, limits, model.manifest.limits.tokens_max, keeps_tokens=keeps_tokens)


class RunningAnswer:
    """What the caller of a stream is told of the sequence, as far as it came."""

    def __init__(self, config: pb.StreamClassifyConfig, model: Model, start: Start) -> None:
        """Raises: InvalidFieldError."""
        self._model = model
        self._labels = model.manifest.labels
        self._top = top_labels(config, model, "config")
        self._start = start
        self._last: pb.Classification | None = None

    def started(self) -> pb.StreamClassifyResponse:
        """The stream was admitted."""
        return pb.StreamClassifyResponse(
            started=pb.StreamClassifyStarted(
                servable=servable_id(self._model.servable.id), position=self._start.position
            )
        )

    def update(self, logits_1L: FloatArray, fed: int) -> pb.StreamClassifyResponse:
        """The answer after a piece. Args: logits_1L: after its last step. fed: steps of the stream so far."""
        position = self._start.position + fed
        self._last = classification(label_probabilities(logits_1L, self._labels)[0], self._labels, self._top, position)
        return pb.StreamClassifyResponse(update=pb.StreamClassifyUpdate(classification=self._last, position=position))

    def ending(self, end: FeedEnd, tokens: IntArray) -> Ending:
        """What the stream leaves. Args: tokens: those that it read, if they are kept."""
        return Ending(end.state, self._start.position + end.steps, None, tokens)

    def finished(
        self, end: FeedEnd, result: state_pb2.StateResult, reason: common.StreamEnd
    ) -> pb.StreamClassifyResponse:
        """The end."""
        return pb.StreamClassifyResponse(
            finished=pb.StreamClassifyFinished(
                classification=self._last, state=result, timing=timing(end.times), reason=reason
            )
        )
