"""Converts a caller's text or words to the inputs that the model was trained on, with offsets into the text.

The tokenizer is the servable's tokenizer.json, read with the `tokenizers` library.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers

from seqserve.server.errors import BrokenServableError, InputTooLongError, InvalidFieldError, OutOfVocabularyError
from seqserve.server.model.inputs import WORD_BYTES, WORD_LENGTHS, Inputs, IntArray, token_inputs
from seqserve.server.model.manifest import TOKENIZER_FILE, Manifest, TokenLevel
from seqserve.server.text.detokenization import token_bytes

_PIECE_CHARACTERS = 4096  # of a text whose tokens are counted before it is cut
_LONG_CHARACTERS = 1024  # of a piece for which the library lets others have the interpreter meanwhile
RUN_CHARACTERS_MAX = 256
"""Characters without white space that are encoded together where the model reads words. "a-a-a-…" takes 0.2 s for 256
characters, 2.7 s for 1,024 and 80 s for 6,000; base64 of 2,048 panics 9 times in 10, of 256 it takes 1 ms."""

_LONG_RUN_CHARACTERS = 64
_LONG_RUN, _FULL_RUN = re.compile(r"\S{65}"), re.compile(r"\S{256}")
_KNOWN_WORDS_MAX, _KNOWN_WORD_CHARACTERS_MAX = 1 << 15, 32  # words whose ids are kept at hand


class Token(NamedTuple):
    """A token of a caller's text: its text and its offsets, [start, end) in characters."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Tokenized:
    """A text as inputs, and its tokens; no tokens if the caller gave ids."""

    inputs: Inputs
    tokens: list[Token]


class _Encoded(NamedTuple):
    """What the library gives for a text: ids, and where the tokens are, [start, end) in characters."""

    ids: list[int]
    offsets: list[tuple[int, int]]


def has_long_run(text: str) -> bool:
    """Returns whether a text has a run without white space that may take milliseconds to encode."""
    return len(text) > _LONG_RUN_CHARACTERS and _LONG_RUN.search(text) is not None


def _parts(text: str) -> list[str]:
    """Cuts a text so that no part has more than RUN_CHARACTERS_MAX characters without white space in a row."""
    parts: list[str] = []
    start = 0
    for run in _FULL_RUN.finditer(text):
        parts.append(text[start : run.end()])
        start = run.end()
    return [*parts, text[start:]] if start < len(text) or not parts else parts


class Tokenization:
    """Turns text and words into inputs. Safe to use from several threads."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        """Reads the tokenizer.

        Raises: BrokenServableError if the file is not a tokenizer, or not of the size that the manifest says.
        """
        self.vocabulary = manifest.vocabulary
        self._with_bytes = any(spec.role == WORD_BYTES for spec in manifest.inputs)
        try:
            self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        except Exception as error:  # the library raises plain Exception
            raise BrokenServableError(f"{TOKENIZER_FILE} is not a tokenizer: {error}") from error
        if (size := self.tokenizer.get_vocab_size()) != self.vocabulary.size:
            raise BrokenServableError(f"{TOKENIZER_FILE} has {size} tokens, the manifest says {self.vocabulary.size}")
        self._unknown = self.vocabulary.unknown_token if self.vocabulary.HasField("unknown_token") else None
        self._known_word_id = lru_cache(_KNOWN_WORDS_MAX)(self._word_id)  # the library takes microseconds for each
        self._cuts_words = self.vocabulary.level in (TokenLevel.TOKEN_LEVEL_WORD, TokenLevel.TOKEN_LEVEL_UNSPECIFIED)
        self._characters = self._ids_of_characters()
        self._bytes_are_ids = self.vocabulary.level == TokenLevel.TOKEN_LEVEL_BYTE and self._ids_are_bytes()

    def encode_ids(self, text: str, field: str, origin: int = 0, tokens_max: int = 0) -> list[int]:
        """Returns the token ids of a text.

        Where it takes long, a text of more than ``tokens_max`` tokens is refused before it is cut; 0 is no limit.

        Args: origin: where the text begins in the caller's, for errors.
        Raises: OutOfVocabularyError naming the first character, or word, that the vocabulary does not have, and its
            offset; InputTooLongError.
        """
        if self._characters is not None:
            try:
                return [self._characters[character] for character in text]
            except KeyError:
                if not self.vocabulary.HasField("unknown_token"):
                    raise self._outside(text, field, origin) from None
                unknown = self.vocabulary.unknown_token
                return [self._characters.get(character, unknown) for character in text]
        if self._bytes_are_ids:
            return list(text.encode("utf-8"))
        self._refuse_if_too_long(text, field, tokens_max)
        return self._encoded(text, text, field, origin).ids

    def check_ids(self, ids: Sequence[int], field: str) -> None:
        """Raises InvalidFieldError for the first id outside the vocabulary."""
        size = self.vocabulary.size
        for index, token in enumerate(ids):
            if not 0 <= token < size:
                raise InvalidFieldError(
                    f"{field}[{index}] is {token}; the vocabulary has ids 0 to {size - 1}", field=field
                )

    def tokenize_text(self, text: str, field: str, tokens_max: int = 0, origin: int = 0) -> Tokenized:
        """Tokenizes a text.

        A long text of more than ``tokens_max`` tokens is refused before it is cut; 0 is no limit.

        Args: origin: where the text begins in the caller's; offsets count from there.
        Raises: as encode_ids, and as tokenize_words; InputTooLongError.
        """
        self._refuse_if_too_long(text, field, tokens_max)
        if self._characters is not None or self._bytes_are_ids:
            ids = self.encode_ids(text, field, origin)
            tokens = [Token(character, place, place + 1) for place, character in enumerate(text, origin)]
            if len(ids) > len(tokens):  # bytes stand where their character does
                tokens = [token for token in tokens for _ in token.text.encode("utf-8")]
            return Tokenized(self._inputs(ids, tokens), tokens)
        encoding = self._encoded(text, text, field, origin)
        tokens = [Token(text[start:end], origin + start, origin + end) for start, end in encoding.offsets]
        return Tokenized(
            self._inputs(self._word_ids(tokens, field) if self._cuts_words else encoding.ids, tokens), tokens
        )

    def _refuse_if_too_long(self, text: str, field: str, tokens_max: int) -> None:
        """Counts the tokens of a long text piece by piece, only as far as needed.

        The library cuts some 100,000 tokens a second: a text of a megabyte would take seconds, only to be refused. A
        run of thousands of characters without a space is counted in parts, so a web address of that length may count
        as many words.
        """
        count = start = 0
        while tokens_max and len(text) > _PIECE_CHARACTERS and start < len(text):
            end = start + _PIECE_CHARACTERS
            space = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
            end = space + 1 if start <= space and end < len(text) else end  # between words, if there are any
            count += max(0, len(self._encoded(text[start:end], text, field).ids) - 1)  # a word that was cut counts once
            check_length(count, tokens_max, "tokens or more", field)
            start = end

    def _ids_of_characters(self) -> dict[str, int] | None:
        """Returns ids by character, if tokens are unchanged characters: a dict is far faster than the library."""
        if self.vocabulary.level != TokenLevel.TOKEN_LEVEL_CHARACTER or not self._takes_text_as_it_stands:
            return None
        ids: dict[str, int] = self.tokenizer.get_vocab()
        return ids

    def _ids_are_bytes(self) -> bool:
        """Returns whether each byte is its own id. Then the library is not needed; it takes seconds for a megabyte."""
        return self._takes_text_as_it_stands and token_bytes(self.tokenizer)[:256] == [bytes([i]) for i in range(256)]

    @property
    def _takes_text_as_it_stands(self) -> bool:
        return self.tokenizer.normalizer is None and not self.tokenizer.get_added_tokens_decoder()

    def tokenize_words(self, words: Sequence[str], field: str, origin: int = 0) -> Tokenized:
        """Converts words, without splitting them. Offsets count them as joined by single spaces, from ``origin`` on.

        Raises: InvalidFieldError for an empty word; OutOfVocabularyError.
        """
        tokens: list[Token] = []
        start = origin
        for index, word in enumerate(words):
            if not word:
                raise InvalidFieldError(f"{field}[{index}] is an empty word", field=field)
            tokens.append(Token(word, start, start + len(word)))
            start += len(word) + 1
        return Tokenized(self._inputs(self._word_ids(tokens, field), tokens), tokens)

    def tokenize_ids(self, ids: Sequence[int], field: str) -> Tokenized:
        """Converts token ids. Raises: InvalidFieldError if the model also reads the words' bytes."""
        if self._with_bytes:
            raise InvalidFieldError("this model reads the letters of its words: send text or words", field=field)
        known = ids[:]  # a list: NumPy is slow with other sequences
        self.check_ids(known, field)
        return Tokenized(token_inputs(known), [])

    def _word_ids(self, words: Sequence[Token], field: str) -> list[int]:
        """Returns the ids of words. Raises: OutOfVocabularyError for the first that has none."""
        ids: list[int] = []
        for word in words:
            known = len(word.text) <= _KNOWN_WORD_CHARACTERS_MAX
            if (token := self._known_word_id(word.text) if known else self._word_id(word.text)) is None:
                raise OutOfVocabularyError(
                    f"word {word.text!r} at offset {word.start} of {field} is not in the model's vocabulary, "
                    "and the model has no unknown token",
                    field=field,
                    metadata={"word": word.text, "offset": str(word.start)},
                )
            ids.append(token)
        return ids

    def _word_id(self, word: str) -> int | None:
        """Returns the id of a word, or of the unknown token; None if the model has none."""
        normalizer = self.tokenizer.normalizer
        token = self.tokenizer.token_to_id(normalizer.normalize_str(word) if normalizer is not None else word)
        return self._unknown if token is None else token

    def _inputs(self, ids: Sequence[int], tokens: Sequence[Token]) -> Inputs:
        """Returns the inputs of the graph for tokens."""
        inputs = token_inputs(ids)
        if self._with_bytes:
            letters, lengths = word_bytes([token.text for token in tokens], self.vocabulary.word_bytes_max)
            inputs.arrays[WORD_BYTES] = letters
            inputs.arrays[WORD_LENGTHS] = lengths
        return inputs

    def _encoded(self, piece: str, text: str, field: str, origin: int = 0) -> _Encoded:
        """Encodes a piece of a text with the library.

        The regular expression that cuts words takes quadratic time for some runs of characters without white space,
        and gives up with a panic for others. So models that read words get longer runs in parts of RUN_CHARACTERS_MAX.

        Args:
            piece: The piece.
            text: The whole text, for errors.
            field: Where the text is in the request.
            origin: Where the text begins in the caller's.

        Raises:
            OutOfVocabularyError: The vocabulary lacks a token, and there is no unknown token.
            InvalidFieldError: The library panicked.
        """
        parts = _parts(piece) if self._cuts_words and has_long_run(piece) else [piece]
        try:
            if len(piece) <= _LONG_CHARACTERS and len(parts) == 1 and not has_long_run(piece):
                encodings = [self.tokenizer.encode(piece, add_special_tokens=False)]
            else:  # for a list of texts the library releases the interpreter's lock
                encodings = self.tokenizer.encode_batch(parts, add_special_tokens=False)
        except Exception as error:  # the library raises plain Exception for a missing unknown token
            raise self._outside(text, field, origin) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # it is a BaseException, and the library does not export it
                raise
            raise InvalidFieldError(
                f"the model's tokenizer failed on {field}: {str(error)[:200]}; shorten its longest words",
                field=field,
            ) from None
        if len(encodings) == 1:
            return _Encoded(encodings[0].ids, encodings[0].offsets)
        encoded, start = _Encoded([], []), 0
        for part, encoding in zip(parts, encodings, strict=True):
            encoded.ids.extend(encoding.ids)
            encoded.offsets.extend((start + first, start + last) for first, last in encoding.offsets)
            start += len(part)
        return encoded

    def _outside(self, text: str, field: str, origin: int) -> OutOfVocabularyError:
        if self.vocabulary.level == TokenLevel.TOKEN_LEVEL_CHARACTER:
            missing = {character for character in set(text) if not self._knows(character)}
            offset = next((offset for offset, character in enumerate(text) if character in missing), None)
            if offset is not None:
                character = text[offset]
                return OutOfVocabularyError(
                    f"character {character!r} (U+{ord(character):04X}) at offset {origin + offset} of {field} is not "
                    "in the model's vocabulary, and the model has no unknown token",
                    field=field,
                    metadata={"character": character, "offset": str(origin + offset)},
                )
        return OutOfVocabularyError(
            f"{field} has a token that is not in the model's vocabulary, and the model has no unknown token",
            field=field,
        )

    def _knows(self, character: str) -> bool:
        """Returns whether a character, after normalization, is in the vocabulary."""
        normalizer = self.tokenizer.normalizer
        read = normalizer.normalize_str(character) if normalizer is not None else character
        return all(self.tokenizer.token_to_id(each) is not None for each in read)


def word_bytes(words: Sequence[str], longest: int) -> tuple[IntArray, IntArray]:
    """Returns the UTF-8 bytes of words, as the byte features read them.

    Args:
        words: T words.
        longest: Bytes of a word that are kept; of a longer one the first half and the last half.
    Returns: int32 (T, W) of byte + 1, 0 where there is none, W the longest kept word, at least 1; lengths int32 (T,).
    """
    kept: list[bytes] = []
    for word in words:
        data = word.encode("utf-8", "surrogatepass")
        head = longest - longest // 2
        kept.append(data if len(data) <= longest else data[:head] + data[len(data) - longest // 2 :])
    lengths = np.array([len(data) for data in kept], dtype=np.int32)
    letters = np.zeros((len(kept), max(1, int(lengths.max(initial=1)))), dtype=np.int32)
    inside = np.arange(letters.shape[1]) < lengths[:, np.newaxis]
    letters[inside] = np.frombuffer(b"".join(kept), np.uint8).astype(np.int32) + 1
    return letters, lengths


def byte_places(text: str) -> Sequence[int]:
    """Returns the byte offset of each character in the UTF-8 form of a text, and that of its end."""
    if text.isascii():
        return range(len(text) + 1)
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    sizes = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
    places: list[int] = np.concatenate([[0], sizes.cumsum()]).tolist()
    return places


def check_length(count: int, limit: int, what: str, field: str) -> None:
    """Raises InputTooLongError if there are more tokens than the limit. 0: no limit."""
    if limit and count > limit:
        raise InputTooLongError(
            f"{field} has {count} {what}, the model takes at most {limit}; cut it into several requests",
            field=field,
            metadata={"count": str(count), "limit": str(limit)},
        )
