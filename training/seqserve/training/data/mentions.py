"""Mentions of entities that stand in for one another, so that more names are seen in more places.

Dai and Adel 2020, "An Analysis of Simple Data Augmentation for Named Entity Recognition", section 3 (mention
replacement).
"""

from collections.abc import Iterable

import numpy as np

from seqserve.training.data.conllu import Sentence
from seqserve.training.data.labels import spans
from seqserve.v1 import manifest_pb2


class Mentions:
    """The mentions in sentences by kind, each distinct one once, so that a common name is not drawn more often."""

    def __init__(self, sentences: Iterable[Sentence], scheme: manifest_pb2.LabelScheme) -> None:
        """Find the mentions. Args: scheme: how the tags of the sentences write spans."""
        self._scheme = scheme
        found = dict[str, dict[Sentence, None]]()
        for sentence in sentences:
            for start, end, kind in spans(sentence.tags, scheme):
                found.setdefault(kind, {})[_part(sentence, start, end)] = None
        self._by_kind = {kind: tuple(mentions) for kind, mentions in found.items()}

    def replaced(self, sentence: Sentence, part: float, generator: np.random.Generator) -> Sentence:
        """Returns the sentence with some mentions replaced by random mentions of the same kind.

        Args:
            sentence: the sentence.
            part: probability of replacing a mention.
            generator: what draws.
        """
        pieces, done = list[Sentence](), 0
        for start, end, kind in spans(sentence.tags, self._scheme):
            if generator.random() < part:
                mentions = self._by_kind[kind]
                pieces += _part(sentence, done, start), mentions[int(generator.integers(len(mentions)))]
                done = end
        if not pieces:
            return sentence
        pieces.append(_part(sentence, done, len(sentence.words)))
        return Sentence(
            tuple(word for piece in pieces for word in piece.words),
            tuple(tag for piece in pieces for tag in piece.tags),
            "",
            tuple(edge for piece in pieces for edge in piece.edges),
        )


def _part(sentence: Sentence, start: int, end: int) -> Sentence:
    return Sentence(sentence.words[start:end], sentence.tags[start:end], "", sentence.edges[start:end])
