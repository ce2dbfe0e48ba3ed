"""Linear-chain conditional random field: probability of a label sequence, and the most likely sequence.

The score of a sequence y of n labels is start[y_1] + sum of scores[t, y_t] + sum of transitions[y_(t-1), y_t] +
end[y_n]; its probability is exp(score) divided by the sum of exp(score) over all sequences (Lafferty, McCallum, and
Pereira 2001; on an LSTM: Huang, Xu, and Yu 2015). All computations are in log space.

Axes: T time, B batch, L labels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqserve.training.data.labels import may_end, may_follow, may_start, scheme_of
from seqserve.v1 import manifest_pb2

FORBIDDEN = -10_000.0
"""Score of forbidden transitions: far below any other, and finite, because the manifest stores finite numbers."""
FIRST_SCALE = 0.1


class ChainScores(NamedTuple):
    """Scores that a chain adds to those of individual labels.

    Attributes:
        start_L: float (L), score of starting with each label.
        transitions_LL: float (L, L), score of each transition, from row to column.
        end_L: float (L), score of ending with each label.
    """

    start_L: Tensor
    transitions_LL: Tensor
    end_L: Tensor


class LinearChain(nn.Module):
    """Learned scores of a linear chain."""

    def __init__(self, labels: Sequence[str], *, constrained: bool) -> None:
        """Initializes the scores.

        Args:
            labels: Names of the L labels.
            constrained: Whether transitions that the scheme of the labels forbids permanently have the score FORBIDDEN.
        """
        super().__init__()
        count = len(labels)
        self.start = nn.Parameter(torch.empty(count).uniform_(-FIRST_SCALE, FIRST_SCALE))
        self.transitions = nn.Parameter(torch.empty(count, count).uniform_(-FIRST_SCALE, FIRST_SCALE))
        self.end = nn.Parameter(torch.empty(count).uniform_(-FIRST_SCALE, FIRST_SCALE))
        scheme = scheme_of(labels) if constrained else manifest_pb2.LABEL_SCHEME_NONE
        constrains = scheme != manifest_pb2.LABEL_SCHEME_NONE
        self.register_buffer("bars_start", _bars([not constrains or may_start(label) for label in labels]))
        self.register_buffer("bars_end", _bars([not constrains or may_end(label, scheme) for label in labels]))
        follows = [not constrains or may_follow(before, label, scheme) for before in labels for label in labels]
        self.register_buffer("bars", _bars(follows).reshape(count, count))

    bars_start: Tensor
    bars_end: Tensor
    bars: Tensor

    def forward(self) -> ChainScores:
        """Returns the scores, with FORBIDDEN for forbidden transitions."""
        return ChainScores(
            torch.where(self.bars_start < 0, self.bars_start, self.start),
            torch.where(self.bars < 0, self.bars, self.transitions),
            torch.where(self.bars_end < 0, self.bars_end, self.end),
        )


def _bars(allowed: Sequence[bool]) -> Tensor:
    return torch.where(torch.tensor(allowed), 0.0, FORBIDDEN)


def log_partition(scores_TBL: Tensor, lengths_B: Tensor, chain: ChainScores) -> Tensor:
    """Computes the log of the sum of exp(score) over all label sequences, with the forward algorithm.

    Args:
        scores_TBL: float (T, B, L), scores of individual labels; padding is ignored.
        lengths_B: int64 (B), each in [1, T].
        chain: Scores of the chain.

    Returns:
        float (B).
    """
    alpha_BL = chain.start_L + scores_TBL[0]
    for step in range(1, len(scores_TBL)):
        ways_BLL = alpha_BL[:, :, None] + chain.transitions_LL
        next_BL = torch.logsumexp(ways_BLL, dim=1) + scores_TBL[step]
        alpha_BL = torch.where((step < lengths_B)[:, None], next_BL, alpha_BL)
    return torch.logsumexp(alpha_BL + chain.end_L, dim=1)


def path_score(scores_TBL: Tensor, labels_TB: Tensor, lengths_B: Tensor, chain: ChainScores) -> Tensor:
    """Computes the scores of given label sequences.

    Args:
        scores_TBL: float (T, B, L), scores of individual labels.
        labels_TB: int64 (T, B); padding may be any valid index.
        lengths_B: int64 (B), each in [1, T].
        chain: Scores of the chain.

    Returns:
        float (B).
    """
    inside_TB = torch.arange(len(scores_TBL), device=scores_TBL.device)[:, None] < lengths_B
    single_TB = scores_TBL.gather(2, labels_TB[..., None])[..., 0]
    moves_TB = chain.transitions_LL[labels_TB[:-1], labels_TB[1:]]
    last_B = labels_TB.gather(0, lengths_B[None] - 1)[0]
    score_B: Tensor = (single_TB * inside_TB).sum(0) + (moves_TB * inside_TB[1:]).sum(0)
    return score_B + chain.start_L[labels_TB[0]] + chain.end_L[last_B]


def negative_log_likelihood(scores_TBL: Tensor, labels_TB: Tensor, lengths_B: Tensor, chain: ChainScores) -> Tensor:
    """Computes -log p of given label sequences, float (B). Arguments as in ``path_score``."""
    return log_partition(scores_TBL, lengths_B, chain) - path_score(scores_TBL, labels_TB, lengths_B, chain)


def viterbi(scores_TBL: Tensor, lengths_B: Tensor, chain: ChainScores) -> Tensor:
    """Finds the label sequences with the highest score. Ties resolve to the lower label.

    Viterbi 1967, as in Rabiner 1989, section III.B: computes the best path to each label at each step, and follows it
    back from the best last label.

    Args:
        scores_TBL: float (T, B, L), scores of individual labels.
        lengths_B: int64 (B), each in [1, T].
        chain: Scores of the chain.

    Returns:
        int64 (T, B); 0 in the padding.
    """
    best_BL = chain.start_L + scores_TBL[0]
    from_TBL = list[Tensor]()
    identity_L = torch.arange(len(chain.start_L), device=scores_TBL.device)
    for step in range(1, len(scores_TBL)):
        ways_BL, origins_BL = (best_BL[:, :, None] + chain.transitions_LL).max(dim=1)
        continues_B1 = (step < lengths_B)[:, None]
        best_BL = torch.where(continues_B1, ways_BL + scores_TBL[step], best_BL)
        from_TBL.append(torch.where(continues_B1, origins_BL, identity_L))  # a finished row keeps its label
    label_B = (best_BL + chain.end_L).argmax(dim=1)
    labels = [label_B]
    for origins_BL in reversed(from_TBL):
        labels.append(origins_BL.gather(1, labels[-1][:, None])[:, 0])
    path_TB = torch.stack(labels[::-1])
    inside_TB = torch.arange(len(scores_TBL), device=scores_TBL.device)[:, None] < lengths_B
    return path_TB * inside_TB
