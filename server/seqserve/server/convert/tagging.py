"""Tag: the inputs of a request, and the tags that answer it."""

from __future__ import annotations

from seqserve.server.convert.fields import task_name
from seqserve.server.convert.texts import text_of, whole_texts
from seqserve.server.errors import InvalidFieldError, TaskMismatchError
from seqserve.server.repository import Model
from seqserve.server.settings import LimitSettings
from seqserve.server.tagging import LabelChoice
from seqserve.server.tokenization import Tokenized
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2
from seqserve.v1 import tagging_pb2 as pb

_TOP_LABELS_MAX = 20


def tag_inputs(request: pb.TagRequest, model: Model, limits: LimitSettings) -> list[Tokenized]:
    """Check a request and tokenize its inputs.

    Raises: TaskMismatchError if the model is no tagger; InvalidFieldError, InputTooLongError, OutOfVocabularyError.
    """
    if model.tokenization is None or model.manifest.task != manifest_pb2.TASK_TAGGING:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} is for {task_name(model)}, it has no tags; choose a tagger"
        )
    if not 0 <= request.outputs.top_labels <= _TOP_LABELS_MAX:
        raise InvalidFieldError(
            f"outputs.top_labels is {request.outputs.top_labels}; it has to be in [0, {_TOP_LABELS_MAX}]",
            field="outputs.top_labels",
        )
    return whole_texts(request.inputs, model.tokenization, limits, model.manifest.limits.tokens_max)


def tagged_sequence(
    item: pb.TagInput, tokenized: Tokenized, choices: list[LabelChoice], model: Model, unit: common.OffsetUnit
) -> pb.TaggedSequence:
    """The tags of one text; offsets in the unit asked for."""
    names = model.manifest.labels.names
    tags = [
        pb.Tag(
            label=names[choice.label],
            score=choice.score,
            position=position,
            top=[common.LabelScore(label=names[label], score=score) for label, score in choice.top],
        )
        for position, choice in enumerate(choices)
    ]
    text = text_of(item)
    end_bytes, end = 0, 0
    for tag, token in zip(tags, tokenized.tokens, strict=False):  # no tokens where the caller gave ids
        tag.token = token.text
        if unit == common.OFFSET_UNIT_BYTE:
            end_bytes += len(text[end : token.start].encode("utf-8"))
            start_bytes = end_bytes
            end_bytes, end = start_bytes + len(token.text.encode("utf-8")), token.end
            tag.offsets.start, tag.offsets.end = start_bytes, end_bytes
        else:
            tag.offsets.start, tag.offsets.end = token.start, token.end
    return pb.TaggedSequence(tags=tags)
