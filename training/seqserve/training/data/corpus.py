"""Texts as token ids on disk: to train on and to validate on, given apart or cut off the end.

Ids lie in a file without a name that the system maps into memory and removes with the process, so a text may be larger
than the memory, and each of several processes has its own. It is made in the folder for temporary files (``TMPDIR``).
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from seqserve.training.arrays import IntArray
from seqserve.training.config.language_model import LanguageModelConfig, TextLevel
from seqserve.training.data.documents import Piece, Text, TextForm, between_words
from seqserve.training.data.files import files
from seqserve.training.data.streams import Window, document_window_count, document_windows, window_count, windows
from seqserve.training.errors import DataError
from seqserve.training.tokenizers.text import END, START, TextEncoder

VALIDATION_FRACTION = 0.1
"""Part of the text to validate on where nothing is said."""
CUT_LEVELS = (TextLevel.WORD, TextLevel.BPE)
"""Levels that a border inside a word would change."""


@dataclass(frozen=True, eq=False)
class TokenText:
    """A text as token ids.

    Attributes:
        ids: int32 (tokens), mapped from disk.
        starts: int64 (documents), where each document begins; the first at 0.
        characters: of the whole text.
        first_characters: of the tokens that nothing predicts: the first of each document, if it is no start token.
        tokens: in each file.
    """

    ids: IntArray
    starts: npt.NDArray[np.int64]
    characters: int
    first_characters: int
    tokens: dict[Path, int]

    def windows(self, *, streams: int, steps: int) -> Iterator[Window]:
        """The text as ``streams`` parallel streams in windows of at most ``steps`` steps, in order of time.

        One document is cut into as many stretches; of several each is read by one stream, from end to end.
        """
        if len(self.starts) == 1:
            return windows(self.ids, streams=streams, steps=steps)
        return document_windows(self.ids, self._documents, streams=streams, steps=steps)

    def window_count(self, *, streams: int, steps: int) -> int:
        """Number of windows that ``windows`` makes."""
        if len(self.starts) == 1:
            return window_count(len(self.ids), streams=streams, steps=steps)
        return document_window_count(self._documents, streams=streams, steps=steps)

    @property
    def targets(self) -> int:
        """Tokens to predict: all but the first of each document."""
        return len(self.ids) - len(self.starts)

    @property
    def streams_max(self) -> int:
        """Most streams that have something to read."""
        return self.targets if len(self.starts) == 1 else len(self.starts)

    @property
    def targets_per_character(self) -> float:
        """Tokens to predict for each character: 1 for a model of characters, less for words."""
        return self.targets / max(self.characters - self.first_characters, 1)

    @cached_property
    def _documents(self) -> list[tuple[int, int]]:
        return list(pairwise([*self.starts.tolist(), len(self.ids)]))


def corpus(config: LanguageModelConfig) -> tuple[Text, Text]:
    """The text to train on and the text to validate on. Raises: DataError if a file cannot be used."""
    form = TextForm.of(config)
    data = Text(files(config.data), form)
    if config.validation:
        return data, Text(files(config.validation), form)
    return data.split(config.validation_fraction or VALIDATION_FRACTION)


def cut_pieces(text: Text, level: TextLevel) -> Iterator[Piece]:
    """The pieces of a text, cut where tokens of this level are."""
    return between_words(text.pieces()) if level in CUT_LEVELS else text.pieces()


def token_text(text: Text, tokenizer: Tokenizer, level: TextLevel) -> TokenText:
    """Turn a text into ids; each document begins and ends with the special tokens that the tokenizer has.

    Raises: DataError if a file cannot be used, a character is not in the vocabulary, or the disk is full.
    """
    encoder = TextEncoder(tokenizer, level)
    opening, closing = ([token] if (token := tokenizer.token_to_id(name)) is not None else [] for name in (START, END))
    starts, tokens = list[int](), Counter[Path]()
    size = characters = first_characters = 0
    last: Path | None = None
    try:
        with tempfile.TemporaryFile(prefix="seqserve-ids-") as file:

            def append(ids: IntArray, path: Path) -> None:
                nonlocal size
                file.write(ids.tobytes())
                tokens[path] += len(ids)
                size += len(ids)

            for piece in cut_pieces(text, level):
                if piece.begins:
                    if last is not None:
                        append(np.asarray(closing, dtype=np.int32), last)
                    starts.append(size)
                    append(np.asarray(opening, dtype=np.int32), piece.path)
                    first_characters += 0 if opening else encoder.first_characters(piece.text)
                ids = encoder.encode(piece.text)
                if len(unknown := np.flatnonzero(ids < 0)):
                    raise _unknown(piece, int(unknown[0]), characters)
                append(ids, piece.path)
                characters += len(piece.text)
                last = piece.path
            if last is not None:
                append(np.asarray(closing, dtype=np.int32), last)
            file.flush()
            ids = np.memmap(file, dtype=np.int32, mode="r") if size else np.empty(0, dtype=np.int32)
    except OSError as error:
        raise DataError(
            Path(tempfile.gettempdir()), f"no place for the token ids: {error.strerror or error}"
        ) from error
    return TokenText(ids, np.asarray(starts, dtype=np.int64), characters, first_characters, dict(tokens))


def _unknown(piece: Piece, place: int, before: int) -> DataError:
    return DataError(
        piece.path,
        f"the character {piece.text[place]!r} (offset {before + place} of the text) does not occur in the training"
        " text; train with --unknown-token, or leave it out",
    )
