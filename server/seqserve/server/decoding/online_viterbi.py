"""Online Viterbi: a label is decided once later ones cannot change it, or once it has waited for the maximum lag.

The best paths of labels, one for each label of the last step, join some steps back: what is before that point is
decided (Šrámek, Brejová, Vinař 2007, "On-line Viterbi algorithm and its relationship to random walks"). So without a
maximum lag the labels are those of `tagging.viterbi`. With one, the label of a step that has waited that long is that
of the best path so far, and paths with another label at that step are dropped.

Axes: P steps that are not decided, T steps, L labels.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from seqserve.server.decoding.tagging import Chain, DoubleArray, LabelChoices, log_sum, make_choices
from seqserve.server.model.state import FloatArray


class OnlineViterbi:
    """Labels one sentence after another. Holds the undecided steps only.

    The probability of a label is marginal, given all steps seen when it was decided. So it does not depend on how the
    steps are divided into pushes.

    Attributes:
        last_label: Label of the last decided step; None at the beginning of a sentence.
    """

    def __init__(self, chain: Chain, lag_max: int | None = None, top: int = 0, last_label: int | None = None) -> None:
        """Begins a sentence, or continues one.

        Args:
            chain: The model's CRF.
            lag_max: Maximum number of steps that a label waits for, at least 0. None: until it cannot change.
            top: How many of the most likely labels to report.
            last_label: The label before the first step, if a sentence is continued.
        """
        self._chain = chain
        self._lag_max = lag_max
        self._top = top
        self.last_label = last_label
        self._clear()

    def __len__(self) -> int:
        """Number of steps that are not decided."""
        return len(self._scores)

    def push(self, scores_TL: FloatArray) -> LabelChoices:
        """Adds steps.

        Args:
            scores_TL: Their scores, before the CRF.

        Returns:
            The labels that are decided with them, in order.
        """
        decided = LabelChoices([], [], [])
        for scores_L in scores_TL.astype(np.float64):
            self._step(scores_L)
            if count := self._settle():
                decided.extend(self._take(count))
        return decided

    def provisional(self, scores_TL: FloatArray) -> LabelChoices:
        """Labels the undecided steps and further ones by the best path so far, which later steps may change.

        Args:
            scores_TL: Scores of the further steps, before the CRF.
        """
        ahead = deepcopy(self, {id(self._chain): self._chain})  # the chain is shared: nothing writes to it
        labels = ahead.push(scores_TL)
        labels.extend(ahead.end(sentence=False))
        return labels

    def end(self, *, sentence: bool = True) -> LabelChoices:
        """Decides the rest.

        Args:
            sentence: Whether the sentence ends too, or is continued after `last_label`.
        """
        rest = self._best(self._chain.end_L if sentence else np.zeros_like(self._chain.end_L))
        if sentence:
            self.last_label = None
        elif len(rest):
            self.last_label = rest.labels[-1]
        self._clear()
        return rest

    def _best(self, end_L: DoubleArray) -> LabelChoices:
        """Labels the undecided steps by the best path, given the score of what follows each last label."""
        if not self._scores:
            return LabelChoices([], [], [])
        labels_P = self._paths_PL[:, (self._best_L + end_L).argmax()]
        return make_choices(labels_P, self._marginals(len(labels_P), end_L), self._top)

    def _clear(self) -> None:
        count = len(self._chain.start_L)
        self._paths_PL = np.empty((0, count), np.intp)  # for each label of the last step: the best path to it
        self._scores: list[DoubleArray] = []
        self._before: list[DoubleArray] = []  # log of the sums over all paths up to a step, shifted to stay small
        self._before_L: DoubleArray = np.empty(0)  # the last of them
        self._best_L: DoubleArray = np.empty(0)  # the score of the best path to each label; -inf: dropped

    def _step(self, scores_L: DoubleArray) -> None:
        if len(self._best_L):
            ways_LL = self._best_L[:, np.newaxis] + self._chain.transitions_LL
            self._paths_PL = self._paths_PL[:, ways_LL.argmax(axis=0)]
            self._best_L = ways_LL.max(axis=0) + scores_L
            before_L = log_sum(self._before_L[:, np.newaxis] + self._chain.transitions_LL, axis=0) + scores_L
        else:
            begun = self.last_label is None
            start_L = self._chain.start_L if begun else self._chain.transitions_LL[self.last_label]
            self._best_L = before_L = start_L + scores_L
        self._before_L = before_L - before_L.max()
        self._paths_PL = np.concatenate([self._paths_PL, np.arange(len(scores_L))[np.newaxis]])
        self._scores.append(scores_L)
        self._before.append(self._before_L)

    def _settle(self) -> int:
        """Returns how many steps can or must be decided. Drops the paths that disagree with a forced decision."""
        alive_PL = self._paths_PL[:, self._best_L > -np.inf]
        count = int((alive_PL == alive_PL[:, :1]).all(axis=1).sum())  # once rows agree, they agree on all before
        late = 0 if self._lag_max is None else len(self._scores) - self._lag_max
        if late <= count:
            return count
        labels_L = self._paths_PL[late - 1]
        self._best_L = np.where(labels_L == labels_L[self._best_L.argmax()], self._best_L, -np.inf)
        return late

    def _take(self, count: int) -> LabelChoices:
        """Decides the first ``count`` steps."""
        labels_P = self._paths_PL[:count, self._best_L.argmax()]
        decided = make_choices(labels_P, self._marginals(count, np.zeros_like(self._best_L)), self._top)
        self.last_label = decided.labels[-1]
        self._paths_PL = self._paths_PL[count:]
        del self._scores[:count], self._before[:count]
        return decided

    def _marginals(self, count: int, end_L: DoubleArray) -> DoubleArray:
        """Returns the probability of each label at the first ``count`` undecided steps, given all steps: (count, L)."""
        after_L = end_L
        together_TL = np.empty((count, len(self._best_L)))
        for step in range(len(self._scores) - 1, -1, -1):
            if step < count:
                together_TL[step] = self._before[step] + after_L
            if step:
                after_L = log_sum(self._chain.transitions_LL + (self._scores[step] + after_L), axis=1)
        probabilities_TL: DoubleArray = np.exp(together_TL - together_TL.max(axis=1, keepdims=True))
        probabilities_TL /= probabilities_TL.sum(axis=1, keepdims=True)
        return probabilities_TL
