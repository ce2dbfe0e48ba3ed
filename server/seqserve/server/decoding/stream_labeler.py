"""Labels of a tag stream whose model has a CRF: final ones, and provisional ones.

Axes: T steps, L labels.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from seqserve.server.decoding.online_viterbi import OnlineViterbi
from seqserve.server.decoding.tagging import Chain, LabelChoices, choose_labels
from seqserve.server.model.state import FloatArray


class StreamLabeler(Protocol):
    """Makes labels from scores that arrive over time and are final themselves."""

    @property
    def last_label(self) -> int | None:
        """The label before the next one; None at the beginning of a sentence."""
        ...

    def push(self, scores_TL: FloatArray) -> LabelChoices:
        """Adds steps.

        Args:
            scores_TL: Their scores, before the CRF.

        Returns:
            The labels that are final with them, in order.
        """
        ...

    def provisional(self, scores_TL: FloatArray) -> LabelChoices:
        """Labels the steps that are not final, and further ones whose scores are not final either.

        Args:
            scores_TL: Scores of the further steps.
        """
        ...

    def end(self, *, sentence: bool = True) -> LabelChoices:
        """Returns the labels of the rest, which are final.

        Args:
            sentence: Whether the sentence ends too.
        """
        ...


class SentenceLabeler:
    """Labels whole sentences."""

    last_label: int | None = None

    def __init__(self, chain: Chain, top: int) -> None:
        """Makes a labeler.

        Args:
            chain: The model's CRF.
            top: How many of the most likely labels to report.
        """
        self._chain = chain
        self._top = top
        self._parts: list[FloatArray] = []

    def push(self, scores_TL: FloatArray) -> LabelChoices:
        """Adds steps. No label is final before the sentence ends."""
        self._parts.append(scores_TL)
        return LabelChoices([], [], [])

    def provisional(self, scores_TL: FloatArray) -> LabelChoices:
        """Labels the sentence as if it ended here."""
        return choose_labels([np.concatenate([*self._parts, scores_TL])], self._top, self._chain)[0]

    def end(self, *, sentence: bool = True) -> LabelChoices:  # noqa: ARG002 - the end of the stream ends the sentence
        """Labels the sentence."""
        parts, self._parts = self._parts, []
        if not parts:
            return LabelChoices([], [], [])
        return choose_labels([np.concatenate(parts)], self._top, self._chain)[0]


def stream_labeler(chain: Chain, top: int, *, whole: bool, lag_max: int, last_label: int | None) -> StreamLabeler:
    """Makes the labeler of a stream.

    Args:
        chain: The model's CRF.
        top: How many of the most likely labels to report.
        whole: Whether the scores of a sentence become final together, at its end.
        lag_max: Otherwise: maximum number of steps that a label waits for.
        last_label: The label before the first step, if a sentence is continued.
    """
    return SentenceLabeler(chain, top) if whole else OnlineViterbi(chain, lag_max, top, last_label)
