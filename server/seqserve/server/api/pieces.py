"""Tokenizes the input messages of client streams."""

from __future__ import annotations

from collections.abc import Iterable

from seqserve.server.api.fields import check_bytes
from seqserve.server.errors import InvalidFieldError
from seqserve.server.settings import LimitSettings
from seqserve.server.text.incremental_tokenizer import IncrementalTokenizer, TokenChunk
from seqserve.server.text.tokenization import check_length
from seqserve.v1 import classification_pb2, generation_pb2, tagging_pb2

Message = tagging_pb2.StreamTagRequest | classification_pb2.StreamClassifyRequest | generation_pb2.StreamScoreRequest


def tokenize_chunk(
    kind: str, message: Message, feed: IncrementalTokenizer, limits: LimitSettings, tokens_max: int
) -> Iterable[TokenChunk]:
    """Returns the tokens that a message completes, in chunks, so that long input blocks no one. Read them to the end.

    Args: kind: The field of the message that is set. tokens_max: words or ids in one message; 0: no limit.
    Raises: InvalidFieldError for an empty piece, one of another form than those before, or an id that is not in the
        vocabulary; InputTooLongError; OutOfVocabularyError, with the offset in the stream.
    """
    match kind:
        case "text":
            _check_some(len(message.text), "text")
            check_bytes(message.text, limits, "text")
            return feed.text(message.text)
        case "words" if not isinstance(message, generation_pb2.StreamScoreRequest):
            words = message.words.words
            _check_some(len(words), "words")
            check_length(len(words), tokens_max, "words", "words")
            check_bytes(" ".join(words), limits, "words")
            return feed.words(words)
        case "token_ids":
            ids = message.token_ids.ids
            _check_some(len(ids), "token_ids")
            check_length(len(ids), tokens_max, "tokens", "token_ids")
            return feed.token_ids(ids)
        case "features":
            raise InvalidFieldError("this model reads tokens, not features", field="features")
        case "sentence_end":
            return feed.sentence_end()
        case _:
            return feed.flush()


def _check_some(count: int, field: str) -> None:
    if not count:
        raise InvalidFieldError(f"{field} is empty; send something, or flush, or end", field=field)
