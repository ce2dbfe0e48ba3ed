"""Sequences of words or characters as numbers, and batches of sequences of like length.

Axes: T tokens, B sequences, N distinct words of a data set, U those of a batch, W bytes of a word.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from seqserve.training.arrays import IntArray
from seqserve.training.data.padding import inside
from seqserve.training.data.share import WHOLE, Share
from seqserve.training.tokenizers.sequences import word_id

SHUFFLE_SPREAD = 4.0
"""Tokens by which sequences of one batch may differ in length, so that batches differ between passes."""


@dataclass(frozen=True)
class SequenceBatch:
    """Sequences of like length, padded behind their ends.

    Attributes:
        members: the places of the sequences in their data set.
        tokens: int32 (T, B), ids of the tokens; 0 in the padding.
        lengths: int32 (B), tokens in each sequence, at least 1.
        bytes: int32 (U, W), spellings: byte values plus 1, 0 behind the last.
        byte_lengths: int32 (U), at least 1.
        words: int32 (T, B), which spelling each token has; 0 in the padding.
    """

    members: tuple[int, ...]
    tokens: IntArray
    lengths: IntArray
    bytes: IntArray
    byte_lengths: IntArray
    words: IntArray

    @property
    def token_count(self) -> int:
        """Tokens, padding not counted."""
        return int(self.lengths.sum())


@dataclass(frozen=True)
class Lexicon:
    """The N distinct words of a data set.

    Attributes:
        ids: int32 (N), token ids.
        bytes: int32 (N, W), spellings: byte values plus 1, 0 behind the last.
        byte_lengths: int32 (N), at least 1.
        counts: int32 (N), how often each occurs.
    """

    ids: IntArray
    bytes: IntArray
    byte_lengths: IntArray
    counts: IntArray


@dataclass(frozen=True)
class SequenceData:
    """A data set ready for batches: each sequence as places in the lexicon."""

    lexicon: Lexicon
    words: tuple[IntArray, ...]

    @property
    def tokens(self) -> int:
        """Tokens in the data set."""
        return sum(len(sequence) for sequence in self.words)


def spelling(word: str, bytes_max: int) -> bytes:
    """The UTF-8 bytes of a word that spelling features see: all, or its first and its last half of ``bytes_max``."""
    encoded = word.encode()
    if len(encoded) <= bytes_max:
        return encoded
    head = (bytes_max + 1) // 2
    return encoded[:head] + encoded[len(encoded) - (bytes_max - head) :]


def sequence_data(sequences: Sequence[Sequence[str]], tokenizer: Tokenizer, *, word_bytes_max: int) -> SequenceData:
    """Turn sequences of words into numbers; of each word at most ``word_bytes_max`` bytes are kept as its spelling."""
    counts = Counter(word for sequence in sequences for word in sequence)
    index = {word: place for place, word in enumerate(counts)}
    spellings = [spelling(word, word_bytes_max) for word in counts]
    width = max(len(encoded) for encoded in spellings)
    bytes_NW = np.zeros((len(counts), width), dtype=np.int32)
    for place, encoded in enumerate(spellings):
        bytes_NW[place, : len(encoded)] = np.frombuffer(encoded, dtype=np.uint8).astype(np.int32) + 1
    lexicon = Lexicon(
        ids=int_array([word_id(tokenizer, word) for word in counts]),
        bytes=bytes_NW,
        byte_lengths=int_array([len(encoded) for encoded in spellings]),
        counts=int_array(list(counts.values())),
    )
    return SequenceData(lexicon, tuple(int_array([index[word] for word in sequence]) for sequence in sequences))


def batches(data: SequenceData, *, size: int) -> Iterator[SequenceBatch]:
    """Batches of at most ``size`` sequences of like length, short ones first."""
    return (batch_of(data, members) for members in memberships(data, size=size))


def memberships(
    data: SequenceData, *, size: int, generator: np.random.Generator | None = None, share: Share = WHOLE
) -> Iterator[list[int]]:
    """For each batch the places of its sequences in ``data``.

    Args:
        data: the sequences.
        size: most sequences of a batch.
        generator: for another order each time; None for short ones first.
        share: which sequences of a batch to return; the last, smaller batch may have none.
    """
    lengths = np.asarray([len(sequence) for sequence in data.words], dtype=np.float64)
    if generator is not None:
        lengths += generator.uniform(0.0, SHUFFLE_SPREAD, len(lengths))
    order = np.argsort(lengths, kind="stable")
    starts = np.arange(0, len(order), size)
    if generator is not None:
        starts = generator.permutation(starts)
    for start in starts:
        yield order[int(start) : int(start) + size][share.rows].tolist()


def batch_of(data: SequenceData, members: Sequence[int]) -> SequenceBatch:
    """The batch of these sequences, given by their places in ``data``."""
    places_TB, lengths_B = padded([data.words[member] for member in members], fill=0)
    inside_TB = inside(lengths_B, len(places_TB)).T
    distinct_U, words = np.unique(places_TB[inside_TB], return_inverse=True)
    words_TB = np.zeros_like(places_TB)
    words_TB[inside_TB] = words
    lexicon = data.lexicon
    byte_lengths_U = lexicon.byte_lengths[distinct_U]
    return SequenceBatch(
        members=tuple(members),
        tokens=np.where(inside_TB, lexicon.ids[places_TB], 0).astype(np.int32),
        lengths=lengths_B,
        bytes=lexicon.bytes[distinct_U, : int(byte_lengths_U.max())],
        byte_lengths=byte_lengths_U,
        words=words_TB,
    )


def padded(rows: Sequence[IntArray], *, fill: int) -> tuple[IntArray, IntArray]:
    """B rows side by side, int32 (T, B), filled up with ``fill``; and their lengths, int32 (B)."""
    lengths_B = int_array([len(row) for row in rows])
    together_TB = np.full((int(lengths_B.max()), len(rows)), fill, dtype=np.int32)
    for column, row in enumerate(rows):
        together_TB[: len(row), column] = row
    return together_TB, lengths_B


def int_array(values: Sequence[int]) -> IntArray:
    """Values as an int32 array."""
    return np.asarray(values, dtype=np.int32)
