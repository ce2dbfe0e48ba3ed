"""Labelled texts as numbers: their tokens, and the labels of each.

Axes: B texts, L labels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from seqserve.training.data.sequences import SequenceBatch, SequenceData, sequence_data


@dataclass(frozen=True)
class ClassData(SequenceData):
    """A data set of labelled texts.

    Attributes:
        label_names: the labels of training, by index.
        names: for each text its labels by name, also those that training never had.
    """

    label_names: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]

    def targets(self, batch: SequenceBatch) -> npt.NDArray[np.float64]:
        """For each text and label of training 1 if the text has it, else 0: (B, L)."""
        rows = [[float(name in self.names[member]) for name in self.label_names] for member in batch.members]
        return np.asarray(rows, dtype=np.float64)

    @property
    def unseen(self) -> Counter[str]:
        """Names of labels that training never had, and how often each occurs."""
        return Counter(name for names in self.names for name in names if name not in self.label_names)


def class_data(
    texts: Sequence[Sequence[str]],
    names: Sequence[tuple[str, ...]],
    tokenizer: Tokenizer,
    label_names: tuple[str, ...],
    *,
    word_bytes_max: int,
) -> ClassData:
    """Turn texts, cut into tokens, and their labels into numbers."""
    data = sequence_data(texts, tokenizer, word_bytes_max=word_bytes_max)
    return ClassData(data.lexicon, data.words, label_names, tuple(names))
