"""Validates the requests of Tag, and builds the responses."""

from __future__ import annotations

from seqserve.server.api.fields import task_name
from seqserve.server.api.texts import offsets_of, text_of, whole_texts
from seqserve.server.decoding.spans import SpanReader, spans_of
from seqserve.server.decoding.tagging import LabelChoices
from seqserve.server.errors import InvalidFieldError, TaskMismatchError
from seqserve.server.repository import Model
from seqserve.server.settings import LimitSettings
from seqserve.server.text.tokenization import Tokenization, Tokenized
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2
from seqserve.v1 import tagging_pb2 as pb

_TOP_LABELS_MAX = 20


def tagger(model: Model) -> Tokenization:
    """Returns the tokenization of a tagger. Raises: TaskMismatchError if the model is not one."""
    if model.tokenization is None or model.manifest.task != manifest_pb2.TASK_TAGGING:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} is for {task_name(model)}, it has no tags; choose a tagger"
        )
    return model.tokenization


def check_outputs(outputs: pb.TagOutputs, model: Model, path: str) -> None:
    """Checks the options. Raises: TaskMismatchError: labels without spans; InvalidFieldError: an invalid value."""
    if outputs.spans:
        SpanReader(model.manifest.labels)
    if not 0 <= outputs.top_labels <= _TOP_LABELS_MAX:
        raise InvalidFieldError(
            f"{path}.top_labels must be in [0, {_TOP_LABELS_MAX}], got {outputs.top_labels}",
            field=f"{path}.top_labels",
        )
    if outputs.offset_unit not in common.OffsetUnit.values():
        raise InvalidFieldError(
            f"{path}.offset_unit is {outputs.offset_unit}, which this server does not know", field=f"{path}.offset_unit"
        )


def tag_inputs(request: pb.TagRequest, model: Model, limits: LimitSettings) -> list[Tokenized]:
    """Validates a request and tokenizes its inputs.

    Raises: TaskMismatchError if the model is no tagger, or spans are asked of labels that write none;
        InvalidFieldError, InputTooLongError, OutOfVocabularyError.
    """
    tokenization = tagger(model)
    check_outputs(request.outputs, model, "outputs")
    return whole_texts(request.inputs, tokenization, limits, model.manifest.limits.tokens_max)


def tagged_sequence(
    item: pb.TagInput, tokenized: Tokenized, choices: LabelChoices, labels: manifest_pb2.Labels, outputs: pb.TagOutputs
) -> pb.TaggedSequence:
    """Returns the tags of a text, and its spans if requested; without texts and offsets if it came as ids."""
    names, text, tokens = list(labels.names), text_of(item), tokenized.tokens
    sequence = pb.TaggedSequence()
    add = sequence.tags.add  # filled in place: half the time of making messages first
    for position, (label, score) in enumerate(zip(choices.labels, choices.scores, strict=True)):
        add(label=names[label], score=score, position=position)
    for tag, token, (start, end) in zip(
        sequence.tags, tokens, offsets_of(tokens, text, outputs.offset_unit), strict=False
    ):
        tag.token = token.text
        offsets = tag.offsets
        offsets.start, offsets.end = start, end
    if outputs.top_labels:
        for tag, top in zip(sequence.tags, choices.top, strict=True):
            tag.top.extend(common.LabelScore(label=names[label], score=score) for label, score in top)
    if outputs.spans:
        for span in spans_of(choices.labels, choices.scores, labels):
            message = sequence.spans.add(
                label=span.kind, score=span.score, first_position=span.first, last_position=span.last
            )
            if tokens:
                message.text = text[tokens[span.first].start : tokens[span.last].end]
                message.offsets.start = sequence.tags[span.first].offsets.start
                message.offsets.end = sequence.tags[span.last].offsets.end
    return sequence
