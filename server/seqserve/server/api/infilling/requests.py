"""Validates the requests of FillIn, and builds the responses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqserve.server.api.fields import check_bytes, check_inputs, integer, task_name
from seqserve.server.api.generation.responses import token_logprob
from seqserve.server.api.texts import offsets_of
from seqserve.server.decoding.logprobs import Candidate
from seqserve.server.engine.requests import ForwardRequest
from seqserve.server.errors import InputTooLongError, InvalidFieldError, TaskMismatchError
from seqserve.server.model.inputs import IntArray, token_inputs
from seqserve.server.repository import Model
from seqserve.server.settings import LimitSettings
from seqserve.server.text.tokenization import Token, Tokenization, Tokenized, check_length
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import infilling_pb2 as pb
from seqserve.v1 import manifest_pb2

BLANK = "___"
_TOP_DEFAULT, _TOP_MAX = 5, 100
_BLANK_CHARACTERS_MAX = 64
_BLANKS_MAX = 256  # of one text; each costs a distribution over the vocabulary


@dataclass(frozen=True, slots=True)
class BlankText:
    """A text with blanks. places: of the blanks, in tokens. tokens: where all tokens stand; none if it came as ids."""

    text: str
    ids: IntArray
    places: tuple[int, ...]
    tokens: list[Token]

    @property
    def request(self) -> ForwardRequest:
        """The request to the engine."""
        return ForwardRequest(token_inputs(self.ids), self.places)


def blank_texts(request: pb.FillInRequest, model: Model, limits: LimitSettings) -> list[BlankText]:
    """Validates a request and finds its blanks.

    Raises: TaskMismatchError if the model fills no blanks; InvalidFieldError, also for a text without a blank;
        InputTooLongError, OutOfVocabularyError.
    """
    vocabulary = model.manifest.vocabulary
    if (
        model.tokenization is None
        or model.manifest.task != manifest_pb2.TASK_INFILLING
        or not vocabulary.HasField("mask_token")
    ):
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} is for {task_name(model)}, it fills no blanks; choose an "
            "infilling model"
        )
    check_inputs(len(request.inputs), limits)
    blank = _blank(request)
    reader = _Reader(model.tokenization, blank, vocabulary.mask_token, limits, model.manifest.limits.tokens_max)
    return [reader.read(item, f"inputs[{index}]") for index, item in enumerate(request.inputs)]


def top_tokens(request: pb.FillInRequest) -> int:
    """Returns the number of candidates per blank. Raises: InvalidFieldError."""
    return integer(request, "top_k", _TOP_DEFAULT, 1, _TOP_MAX, "")


def _blank(request: pb.FillInRequest) -> str:
    if not request.HasField("blank"):
        return BLANK
    if not request.blank.strip() or len(request.blank) > _BLANK_CHARACTERS_MAX:
        raise InvalidFieldError(
            f"blank is {request.blank[:_BLANK_CHARACTERS_MAX]!r}, of {len(request.blank)} characters; what stands for "
            f"a blank has 1 to {_BLANK_CHARACTERS_MAX}, not only spaces",
            field="blank",
        )
    return request.blank


class _Reader:
    """Reads the inputs of one request."""

    def __init__(
        self, tokenization: Tokenization, blank: str, mask: int, limits: LimitSettings, tokens_max: int
    ) -> None:
        self._tokenization = tokenization
        self._blank = blank
        self._mask = mask
        self._limits = limits
        self._tokens_max = tokens_max

    def read(self, item: pb.FillInInput, path: str) -> BlankText:
        """Returns one input: its text, its tokens, and the positions of the blanks."""
        match item.WhichOneof("input"):
            case "text":
                text, reason = item.text, f"{self._blank!r} does not stand in it"
                check_bytes(text, self._limits, f"{path}.text")
                parts = self._parts_of_text(text, f"{path}.text")
            case "words":
                text, reason = " ".join(item.words.words), f"none of its words is {self._blank!r}"
                check_bytes(text, self._limits, f"{path}.words")
                cut = self._tokenization.tokenize_words(item.words.words, f"{path}.words.words")
                blanks = np.array([word == self._blank for word in item.words.words], np.bool_)
                parts = iter([(np.where(blanks, np.int32(self._mask), _ids(cut)), cut.tokens)])
            case "token_ids":
                text, reason = "", f"none of its ids is {self._mask}, the mask token"
                cut = self._tokenization.tokenize_ids(item.token_ids.ids, f"{path}.token_ids.ids")
                parts = iter([(_ids(cut), cut.tokens)])
            case _:
                raise InvalidFieldError(f"{path} is empty; give it text, words or token_ids", field=path)
        arrays: list[IntArray] = []
        tokens: list[Token] = []
        for array, found in parts:
            arrays.append(array)
            tokens += found
        ids_T = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
        places: list[int] = np.flatnonzero(ids_T == self._mask).tolist()
        if not places:
            raise InvalidFieldError(f"{path} has no blank: {reason}; mark what is to be filled in", field=path)
        if len(places) > _BLANKS_MAX:
            raise InputTooLongError(
                f"{path} has {len(places)} blanks, a text may have {_BLANKS_MAX}; cut it into several", field=path
            )
        check_length(len(ids_T), self._tokens_max, "tokens", path)
        return BlankText(text, ids_T, tuple(places), tokens)

    def _parts_of_text(self, text: str, path: str) -> Iterator[tuple[IntArray, list[Token]]]:
        """Tokenizes the text between blanks separately, as if blanks were surrounded by spaces."""
        start = 0
        while True:
            end = text.find(self._blank, start)
            part = text[start:] if end < 0 else text[start:end]
            cut = self._tokenization.tokenize_text(part, path, self._tokens_max, start)
            yield _ids(cut), cut.tokens
            if end < 0:
                return
            start = end + len(self._blank)
            yield np.array([self._mask], np.int32), [Token(self._blank, end, start)]


def _ids(cut: Tokenized) -> IntArray:
    return cut.inputs.tokens


def filled_sequence(
    blanks: BlankText, candidates: list[list[Candidate]], model: Model, unit: common.OffsetUnit
) -> pb.FilledSequence:
    """Returns the candidates for the blanks of one text, and the text with the best ones filled in."""
    sequence = pb.FilledSequence(
        blanks=[
            pb.FilledBlank(position=place, candidates=[_token_logprob(candidate, model) for candidate in likeliest])
            for place, likeliest in zip(blanks.places, candidates, strict=True)
        ]
    )
    if not blanks.tokens:
        ids_T = blanks.ids.copy()
        ids_T[list(blanks.places)] = [likeliest[0].token for likeliest in candidates]
        ids: list[int] = ids_T.tolist()
        sequence.text = b"".join(model.table[token] for token in ids).decode("utf-8", "replace").rstrip(" ")
        return sequence
    marks = [blanks.tokens[place] for place in blanks.places]
    pieces: list[str] = []
    end = 0
    for blank, mark, (start, stop) in zip(sequence.blanks, marks, offsets_of(marks, blanks.text, unit), strict=True):
        blank.offsets.start, blank.offsets.end = start, stop
        pieces += (blanks.text[end : mark.start], blank.candidates[0].token)
        end = mark.end
    sequence.text = "".join(pieces) + blanks.text[end:]
    return sequence


def _token_logprob(candidate: Candidate, model: Model) -> common.TokenLogprob:
    """Returns a candidate; a word without the space that separates it from the next."""
    message = token_logprob(candidate, model.table)
    if model.manifest.vocabulary.level == manifest_pb2.TOKEN_LEVEL_WORD:
        message.token = message.token.removesuffix(" ")
    return message
