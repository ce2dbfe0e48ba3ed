"""Tag: the inputs of a request, and the tags that answer it."""

from __future__ import annotations

from seqserve.server.convert.fields import check_bytes, check_inputs, refuse, task_name
from seqserve.server.errors import InvalidFieldError, TaskMismatchError
from seqserve.server.repository import Model
from seqserve.server.settings import LimitSettings
from seqserve.server.tagging import LabelChoice
from seqserve.server.tokenization import Tokenization, Tokenized, check_length
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2
from seqserve.v1 import tagging_pb2 as pb

_TOP_LABELS_MAX = 20


def tag_inputs(request: pb.TagRequest, model: Model, limits: LimitSettings) -> list[Tokenized]:
    """Check a request and tokenize its inputs.

    Raises: TaskMismatchError if the model is no tagger; InvalidFieldError, InputTooLongError, OutOfVocabularyError,
        UnimplementedError.
    """
    if model.tokenization is None or model.manifest.task != manifest_pb2.TASK_TAGGING:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} is for {task_name(model)}, it has no tags; choose a tagger"
        )
    refuse(request.outputs, ("spans",), "outputs")
    if not 0 <= request.outputs.top_labels <= _TOP_LABELS_MAX:
        raise InvalidFieldError(
            f"outputs.top_labels is {request.outputs.top_labels}; it has to be in [0, {_TOP_LABELS_MAX}]",
            field="outputs.top_labels",
        )
    check_inputs(len(request.inputs), limits)
    tokens_max = model.manifest.limits.tokens_max
    tokenized: list[Tokenized] = []
    for index, item in enumerate(request.inputs):
        tokenized.append(_tokenized(item, model.tokenization, limits, tokens_max, f"inputs[{index}]"))
        check_length(len(tokenized[-1].inputs), tokens_max, "tokens", f"inputs[{index}]")
    return tokenized


def _tokenized(
    item: pb.TagInput, tokenization: Tokenization, limits: LimitSettings, tokens_max: int, path: str
) -> Tokenized:
    match item.WhichOneof("input"):
        case "text":
            check_bytes(item.text, limits, f"{path}.text")
            return tokenization.tokenize_text(item.text, f"{path}.text", tokens_max)
        case "words":
            check_bytes(" ".join(item.words.words), limits, f"{path}.words")
            return tokenization.tokenize_words(item.words.words, f"{path}.words.words")
        case "token_ids":
            return tokenization.tokenize_ids(item.token_ids.ids, f"{path}.token_ids.ids")
        case "features":
            raise InvalidFieldError("this model reads tokens, not features", field=f"{path}.features")
        case _:
            raise InvalidFieldError(f"{path} is empty; give it text, words or token_ids", field=path)


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
    text = item.text if item.WhichOneof("input") == "text" else " ".join(item.words.words)
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
