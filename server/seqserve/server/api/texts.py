"""Checks and tokenizes the inputs of unary requests: texts, words or token ids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, cast

from seqserve.server.api.execution import INLINE_BYTES_MAX
from seqserve.server.api.fields import check_bytes, check_inputs
from seqserve.server.errors import InvalidFieldError
from seqserve.server.settings import LimitSettings
from seqserve.server.text.tokenization import Token, Tokenization, Tokenized, check_length, has_long_run
from seqserve.v1 import classification_pb2, common_pb2, generation_pb2, infilling_pb2, tagging_pb2

TextInput = tagging_pb2.TagInput | classification_pb2.ClassifyInput
"""A text, words, token ids or features."""

_SEARCHED_MAX = 1024  # more inputs than most servers take

TextRequest = (
    tagging_pb2.TagRequest
    | classification_pb2.ClassifyRequest
    | infilling_pb2.FillInRequest
    | (generation_pb2.ScoreRequest)
)


def tokenizing_bytes(request: TextRequest) -> int:
    """Returns the size of a request for `run_off_loop`: a long one if a text takes long to tokenize."""
    size, inputs = request.ByteSize(), cast("Sequence[Any]", request.inputs)
    if size > INLINE_BYTES_MAX or not any(has_long_run(item.text) for item in islice(inputs, _SEARCHED_MAX)):
        return size
    return INLINE_BYTES_MAX + 1


def whole_texts(
    inputs: Sequence[TextInput], tokenization: Tokenization, limits: LimitSettings, tokens_max: int
) -> list[Tokenized]:
    """Tokenizes the inputs of a request.

    Raises: InvalidFieldError, InputTooLongError, OutOfVocabularyError, each naming the input.
    """
    check_inputs(len(inputs), limits)
    return [
        _whole_text(item, tokenization, limits, tokens_max, f"inputs[{index}]") for index, item in enumerate(inputs)
    ]


def _whole_text(
    item: TextInput, tokenization: Tokenization, limits: LimitSettings, tokens_max: int, path: str
) -> Tokenized:
    match item.WhichOneof("input"):
        case "text":
            check_bytes(item.text, limits, f"{path}.text")
            tokenized = tokenization.tokenize_text(item.text, f"{path}.text", tokens_max)
        case "words":
            check_bytes(" ".join(item.words.words), limits, f"{path}.words")
            tokenized = tokenization.tokenize_words(item.words.words, f"{path}.words.words")
        case "token_ids":
            tokenized = tokenization.tokenize_ids(item.token_ids.ids, f"{path}.token_ids.ids")
        case "features":
            raise InvalidFieldError("this model reads tokens, not features", field=f"{path}.features")
        case _:
            raise InvalidFieldError(f"{path} is empty; give it text, words or token_ids", field=path)
    check_length(len(tokenized.inputs), tokens_max, "tokens", path)
    return tokenized


def text_of(item: TextInput | infilling_pb2.FillInInput) -> str:
    """Returns the text that offsets refer to: the text, or the words joined by single spaces; "" for ids."""
    return item.text if item.WhichOneof("input") == "text" else " ".join(item.words.words)


def offsets_of(tokens: Sequence[Token], text: str, unit: common_pb2.OffsetUnit) -> list[tuple[int, int]]:
    """Returns the offsets [start, end) of tokens in a text, in the requested unit. The tokens are in text order."""
    if unit != common_pb2.OFFSET_UNIT_BYTE:
        return [(token.start, token.end) for token in tokens]
    found: list[tuple[int, int]] = []
    end, end_bytes = 0, 0
    for token in tokens:
        start_bytes = end_bytes + len(text[end : token.start].encode("utf-8"))
        end, end_bytes = token.end, start_bytes + len(text[token.start : token.end].encode("utf-8"))
        found.append((start_bytes, end_bytes))
    return found
