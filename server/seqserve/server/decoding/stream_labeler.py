"""The labels of a stream of tags whose model has a CRF: what is final, and what may still change.

Axes: T steps, L labels.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from seqserve.server.decoding.online_viterbi import OnlineViterbi
from seqserve.server.decoding.tagging import Chain, LabelChoices, choose_labels
from seqserve.server.model.state import FloatArray


class StreamLabeler(Protocol):
    """Makes labels of scores that come over time and are final themselves."""

    @property
    def last_label(self) -> int | None:
        """The label that the next one follows; None at a sentence's beginning."""
        ...

    def push(self, scores_TL: FloatArray) -> LabelChoices:
        """See further steps' scores. Returns: what is final with them, in order."""
        ...

    def provisional(self, scores_TL: FloatArray) -> LabelChoices:
        """For the steps that are not final, and these after them, whose scores are not final either."""
        ...

    def end(self, *, sentence: bool = True) -> LabelChoices:
        """The rest, which is final. Args: sentence: whether the sentence ends too."""
        ...


class SentenceLabeler:
    """Of sentences that are seen whole."""

    last_label: int | None = None

    def __init__(self, chain: Chain, top: int) -> None:
        """Args: chain: the CRF. top: how many of the likeliest labels to tell."""
        self._chain = chain
        self._top = top
        self._parts: list[FloatArray] = []

    def push(self, scores_TL: FloatArray) -> LabelChoices:
        """Nothing: the sentence goes on."""
        self._parts.append(scores_TL)
        return LabelChoices([], [], [])

    def provisional(self, scores_TL: FloatArray) -> LabelChoices:
        """The labels of the sentence, if it ended here."""
        return choose_labels([np.concatenate([*self._parts, scores_TL])], self._top, self._chain)[0]

    def end(self, *, sentence: bool = True) -> LabelChoices:  # noqa: ARG002 - what ends the stream ends the sentence
        """The labels of the sentence."""
        parts, self._parts = self._parts, []
        if not parts:
            return LabelChoices([], [], [])
        return choose_labels([np.concatenate(parts)], self._top, self._chain)[0]


def stream_labeler(chain: Chain, top: int, *, whole: bool, lag_max: int, last_label: int | None) -> StreamLabeler:
    """What makes the labels of a stream.

    Args:
        chain: The model's CRF.
        top: How many of the likeliest labels to tell.
        whole: The scores of a sentence become final together, at its end.
        lag_max: Otherwise: most steps that a label waits for.
        last_label: The label before the first step, if a sentence goes on.
    """
    return SentenceLabeler(chain, top) if whole else OnlineViterbi(chain, lag_max, top, last_label)
