"""Tagged sentences as numbers, and batches of sentences of like length.

Axes: T words, B sentences, U distinct spellings of a batch, W bytes of a word.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from seqserve.training.data.conllu import Sentence
from seqserve.training.data.padding import inside
from seqserve.training.data.streams import IntArray
from seqserve.training.distributed import WHOLE, Share
from seqserve.training.tokenizer import word_id

UNSEEN_LABEL = -1
"""Stands for a label that training never had: always counted as wrong, never trained on."""
SHUFFLE_SPREAD = 4.0
"""Words by which sentences of one batch may differ in length, so that batches differ between passes."""


@dataclass(frozen=True)
class TagBatch:
    """Sentences of like length, padded behind their ends.

    Attributes:
        tokens: int32 (T, B), ids of the words; 0 in the padding.
        lengths: int32 (B), words in each sentence, at least 1.
        labels: int32 (T, B); UNSEEN_LABEL in the padding.
        bytes: int32 (U, W), spellings: byte values plus 1, 0 behind the last.
        byte_lengths: int32 (U), at least 1.
        words: int32 (T, B), which spelling each word has; 0 in the padding.
    """

    tokens: IntArray
    lengths: IntArray
    labels: IntArray
    bytes: IntArray
    byte_lengths: IntArray
    words: IntArray


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
class TagData:
    """A data set ready for batches: each sentence as places in the lexicon, and as labels."""

    lexicon: Lexicon
    words: tuple[IntArray, ...]
    labels: tuple[IntArray, ...]

    @property
    def tokens(self) -> int:
        """Words in the data set."""
        return sum(len(sentence) for sentence in self.words)


def spelling(word: str, bytes_max: int) -> bytes:
    """The UTF-8 bytes of a word that spelling features see: all, or its first and its last half of ``bytes_max``."""
    encoded = word.encode()
    if len(encoded) <= bytes_max:
        return encoded
    head = (bytes_max + 1) // 2
    return encoded[:head] + encoded[len(encoded) - (bytes_max - head) :]


def tag_data(
    sentences: Sequence[Sentence], tokenizer: Tokenizer, labels: Sequence[str], *, word_bytes_max: int
) -> TagData:
    """Turn sentences into numbers; a tag that is not in ``labels`` becomes UNSEEN_LABEL."""
    counts: dict[str, int] = {}
    for sentence in sentences:
        for word in sentence.words:
            counts[word] = counts.get(word, 0) + 1
    index = {word: place for place, word in enumerate(counts)}
    spellings = [spelling(word, word_bytes_max) for word in counts]
    width = max(len(encoded) for encoded in spellings)
    bytes_NW = np.zeros((len(counts), width), dtype=np.int32)
    for place, encoded in enumerate(spellings):
        bytes_NW[place, : len(encoded)] = np.frombuffer(encoded, dtype=np.uint8).astype(np.int32) + 1
    lexicon = Lexicon(
        ids=_ints([word_id(tokenizer, word) for word in counts]),
        bytes=bytes_NW,
        byte_lengths=_ints([len(encoded) for encoded in spellings]),
        counts=_ints(list(counts.values())),
    )
    label_index = {label: place for place, label in enumerate(labels)}
    return TagData(
        lexicon,
        words=tuple(_ints([index[word] for word in sentence.words]) for sentence in sentences),
        labels=tuple(_ints([label_index.get(tag, UNSEEN_LABEL) for tag in sentence.tags]) for sentence in sentences),
    )


def batches(data: TagData, *, size: int) -> Iterator[TagBatch]:
    """Batches of at most ``size`` sentences of like length, short ones first."""
    return (batch_of(data, members) for members in memberships(data, size=size))


def memberships(
    data: TagData, *, size: int, generator: np.random.Generator | None = None, share: Share = WHOLE
) -> Iterator[list[int]]:
    """For each batch the places of its sentences in ``data``.

    Args:
        data: the sentences.
        size: most sentences of a batch.
        generator: for another order each time; None for short ones first.
        share: which of a batch's sentences are wanted; there may be none in the smaller batch that is left over.
    """
    lengths = np.asarray([len(sentence) for sentence in data.words], dtype=np.float64)
    if generator is not None:
        lengths += generator.uniform(0.0, SHUFFLE_SPREAD, len(lengths))
    order = np.argsort(lengths, kind="stable")
    starts = np.arange(0, len(order), size)
    if generator is not None:
        starts = generator.permutation(starts)
    for start in starts:
        yield order[int(start) : int(start) + size][share.rows].tolist()


def batch_of(data: TagData, members: Sequence[int]) -> TagBatch:
    """The batch of these sentences, given by their places in ``data``."""
    lengths_B = _ints([len(data.words[member]) for member in members])
    places_TB = np.zeros((int(lengths_B.max()), len(members)), dtype=np.int32)
    labels_TB = np.full_like(places_TB, UNSEEN_LABEL)
    inside_TB = inside(lengths_B, len(places_TB)).T
    for column, member in enumerate(members):
        places_TB[: lengths_B[column], column] = data.words[member]
        labels_TB[: lengths_B[column], column] = data.labels[member]
    distinct_U, words = np.unique(places_TB[inside_TB], return_inverse=True)
    words_TB = np.zeros_like(places_TB)
    words_TB[inside_TB] = words
    lexicon = data.lexicon
    byte_lengths_U = lexicon.byte_lengths[distinct_U]
    return TagBatch(
        tokens=np.where(inside_TB, lexicon.ids[places_TB], 0).astype(np.int32),
        lengths=lengths_B,
        labels=labels_TB,
        bytes=lexicon.bytes[distinct_U, : int(byte_lengths_U.max())],
        byte_lengths=byte_lengths_U,
        words=words_TB,
    )


def _ints(values: Sequence[int]) -> IntArray:
    return np.asarray(values, dtype=np.int32)
