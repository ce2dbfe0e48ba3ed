"""What a client stream sends, piece by piece, as steps for the graph."""

from __future__ import annotations

import numpy as np

from seqserve.server.convert.fields import check_bytes
from seqserve.server.errors import InvalidFieldError, UnimplementedError
from seqserve.server.inputs import Inputs, IntArray
from seqserve.server.settings import LimitSettings
from seqserve.server.start import no_tokens
from seqserve.server.tokenization import Tokenization, check_length
from seqserve.v1 import classification_pb2, manifest_pb2


class Pieces:
    """The input of one stream."""

    def __init__(self, tokenization: Tokenization, limits: LimitSettings, tokens_max: int, *, keeps_tokens: bool):
        """Args: tokens_max: tokens in one piece, 0: no limit. keeps_tokens: whether `tokens` is wanted."""
        self._tokenization = tokenization
        self._limits = limits
        self._tokens_max = tokens_max
        self._keeps_tokens = keeps_tokens
        self._kept: list[IntArray] = []

    @property
    def tokens(self) -> IntArray:
        """All tokens so far, int32, if they are kept."""
        return np.concatenate(self._kept) if self._kept else no_tokens()

    def steps(self, message: classification_pb2.StreamClassifyRequest) -> Inputs | None:
        """The steps that a message completes; None if there are none.

        Raises: InvalidFieldError for an empty piece, InputTooLongError, OutOfVocabularyError.
        """
        inputs = self._steps(message)
        if inputs is None or not len(inputs):
            return None
        if self._keeps_tokens:
            self._kept.append(inputs.arrays[manifest_pb2.TENSOR_ROLE_TOKENS].astype(np.int32))
        return inputs

    def _steps(self, message: classification_pb2.StreamClassifyRequest) -> Inputs | None:
        tokenization = self._tokenization
        match message.WhichOneof("message"):
            case "text":
                raise UnimplementedError("text")
            case "words":
                words = message.words.words
                self._check(len(words), "words")
                check_bytes(" ".join(words), self._limits, "words")
                return tokenization.tokenize_words(words, "words.words").inputs
            case "token_ids":
                ids = message.token_ids.ids
                self._check(len(ids), "token_ids")
                return tokenization.tokenize_ids(ids, "token_ids.ids").inputs
            case "features":
                raise InvalidFieldError("this model reads tokens, not features", field="features")
            case _:
                return None

    def _check(self, count: int, field: str) -> None:
        if not count:
            raise InvalidFieldError(f"{field} is empty; send something, or flush, or end", field=field)
        check_length(count, self._tokens_max, "tokens", field)
