"""Tagged sentences as numbers: their tokens, and a label for each.

Axes: T tokens, B sentences.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from seqserve.training.arrays import IntArray
from seqserve.training.data.conllu import Sentence
from seqserve.training.data.sequences import SequenceBatch, SequenceData, int_array, padded, sequence_data

UNSEEN_LABEL = -1
"""Stands for a label that training never had: always counted as wrong, never trained on."""


@dataclass(frozen=True)
class TagData(SequenceData):
    """A data set of tagged sentences.

    Attributes:
        labels: for each sentence int32 (tokens), the label of each token.
        names: the same labels by name, also those that training never had.
        edges: for each sentence of characters int32 (tokens), where each stands in its word; empty for words.
    """

    labels: tuple[IntArray, ...]
    names: tuple[tuple[str, ...], ...]
    edges: tuple[IntArray, ...]

    def label_rows(self, batch: SequenceBatch) -> IntArray:
        """The labels of a batch, int32 (T, B); UNSEEN_LABEL in the padding."""
        return padded([self.labels[member] for member in batch.members], fill=UNSEEN_LABEL)[0]

    def edge_rows(self, batch: SequenceBatch) -> IntArray:
        """Where the characters of a batch stand in their words, int32 (T, B); UNSEEN_LABEL in the padding."""
        return padded([self.edges[member] for member in batch.members], fill=UNSEEN_LABEL)[0]

    @property
    def unseen(self) -> Counter[str]:
        """Names of labels that training never had, and how often each occurs."""
        pairs = (pair for rows in zip(self.labels, self.names, strict=True) for pair in zip(*rows, strict=True))
        return Counter(name for label, name in pairs if label == UNSEEN_LABEL)


def tag_data(
    sentences: Sequence[Sentence], tokenizer: Tokenizer, labels: Sequence[str], *, word_bytes_max: int
) -> TagData:
    """Converts sentences to numbers. A tag outside ``labels`` becomes UNSEEN_LABEL."""
    data = sequence_data([sentence.words for sentence in sentences], tokenizer, word_bytes_max=word_bytes_max)
    index = {label: place for place, label in enumerate(labels)}
    numbers = tuple(int_array([index.get(tag, UNSEEN_LABEL) for tag in sentence.tags]) for sentence in sentences)
    names = tuple(sentence.tags for sentence in sentences)
    return TagData(data.lexicon, data.words, numbers, names, tuple(int_array(each.edges) for each in sentences))
