"""Validates the requests of Classify, and builds the responses."""

from __future__ import annotations

import numpy as np

from seqserve.server.api.fields import integer, task_name
from seqserve.server.api.texts import whole_texts
from seqserve.server.decoding.classification import DoubleArray, chosen_labels
from seqserve.server.errors import EmptyPromptError, TaskMismatchError
from seqserve.server.repository import Model
from seqserve.server.settings import LimitSettings
from seqserve.server.text.tokenization import Tokenization, Tokenized
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2

_TOP_LABELS_MAX = 100


def classifier(model: Model) -> Tokenization:
    """Returns the tokenization of a classifier. Raises: TaskMismatchError if the model is not one."""
    if model.tokenization is None or model.manifest.task != manifest_pb2.TASK_CLASSIFICATION:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} is for {task_name(model)}, it does not classify texts; "
            "choose a classifier"
        )
    return model.tokenization


def classify_inputs(request: pb.ClassifyRequest, model: Model, limits: LimitSettings) -> list[Tokenized]:
    """Validates a request and tokenizes its inputs.

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
    """Returns the number of labels to return; all if unset. Raises: InvalidFieldError."""
    return integer(message, "top_labels", len(model.manifest.labels.names), 1, _TOP_LABELS_MAX, path)


def classification(
    probabilities_L: DoubleArray, labels: manifest_pb2.Labels, top: int, tokens: int
) -> pb.Classification:
    """Converts probabilities to a classification: most likely labels, ties in the model's order, and predicted ones."""
    order: list[int] = np.argsort(-probabilities_L, kind="stable")[:top].tolist()
    return pb.Classification(
        labels=[common.LabelScore(label=labels.names[label], score=float(probabilities_L[label])) for label in order],
        chosen=[labels.names[label] for label in chosen_labels(probabilities_L, labels)],
        tokens=tokens,
    )
