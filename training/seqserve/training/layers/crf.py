"""Linear-chain conditional random field: how likely a whole row of labels is, and which row is the likeliest.

The score of a row y of n labels is start[y_1] + sum of scores[t, y_t] + sum of transitions[y_(t-1), y_t] + end[y_n];
its probability is exp(score) over the sum of that for all rows (Lafferty, McCallum and Pereira 2001; on top of an LSTM:
Huang, Xu and Yu 2015). Everything is computed in log space.

Axes: T time, B batch, L labels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqserve.training.data.labels import may_end, may_follow, may_start, scheme_of
from seqserve.v1 import manifest_pb2

FORBIDDEN = -10_000.0
"""Score of what may not be: far below any other, and finite, for a manifest holds numbers."""
FIRST_SCALE = 0.1


class ChainScores(NamedTuple):
    """What a chain adds to the scores of single labels.

    Attributes:
        start_L: float (L), starting with each.
        transitions_LL: float (L, L), each followed by each.
        end_L: float (L), ending with each.
    """

    start_L: Tensor
    transitions_LL: Tensor
    end_L: Tensor


class LinearChain(nn.Module):
    """The learned scores of a chain of labels."""

    def __init__(self, labels: Sequence[str], *, constrained: bool) -> None:
        """With ``constrained`` the scores of what the scheme of these labels forbids are FORBIDDEN and stay so."""
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
        """The scores, with FORBIDDEN in place of those of what may not be."""
        return ChainScores(
            torch.where(self.bars_start < 0, self.bars_start, self.start),
            torch.where(self.bars < 0, self.bars, self.transitions),
            torch.where(self.bars_end < 0, self.bars_end, self.end),
        )


def _bars(allowed: Sequence[bool]) -> Tensor:
    return torch.where(torch.tensor(allowed), 0.0, FORBIDDEN)


def log_partition(scores_TBL: Tensor, lengths_B: Tensor, chain: ChainScores) -> Tensor:
    """Logarithm of the sum of exp(score) over all rows of labels, (B): the forward algorithm.

    Args:
        scores_TBL: of single labels; what stands where a row has ended does not matter.
        lengths_B: int64 (B), each in [1, T].
        chain: the rest of the score.
    """
    alpha_BL = chain.start_L + scores_TBL[0]
    for step in range(1, len(scores_TBL)):
        ways_BLL = alpha_BL[:, :, None] + chain.transitions_LL
        next_BL = torch.logsumexp(ways_BLL, dim=1) + scores_TBL[step]
        alpha_BL = torch.where((step < lengths_B)[:, None], next_BL, alpha_BL)
    return torch.logsumexp(alpha_BL + chain.end_L, dim=1)


def path_score(scores_TBL: Tensor, labels_TB: Tensor, lengths_B: Tensor, chain: ChainScores) -> Tensor:
    """Score (B) of given rows of labels, int64 (T, B); what stands where a row has ended has to be an index, any."""
    inside_TB = torch.arange(len(scores_TBL), device=scores_TBL.device)[:, None] < lengths_B
    single_TB = scores_TBL.gather(2, labels_TB[..., None])[..., 0]
    moves_TB = chain.transitions_LL[labels_TB[:-1], labels_TB[1:]]
    last_B = labels_TB.gather(0, lengths_B[None] - 1)[0]
    score_B: Tensor = (single_TB * inside_TB).sum(0) + (moves_TB * inside_TB[1:]).sum(0)
    return score_B + chain.start_L[labels_TB[0]] + chain.end_L[last_B]


def negative_log_likelihood(scores_TBL: Tensor, labels_TB: Tensor, lengths_B: Tensor, chain: ChainScores) -> Tensor:
    """-log p (B) of given rows of labels; arguments as in ``path_score``."""
    return log_partition(scores_TBL, lengths_B, chain) - path_score(scores_TBL, labels_TB, lengths_B, chain)


def viterbi(scores_TBL: Tensor, lengths_B: Tensor, chain: ChainScores) -> Tensor:
    """The row of labels with the highest score, int64 (T, B); 0 where a row has ended. Ties go to the lower label.

    Viterbi 1967, as in Rabiner 1989, section III.B: the best way to each label at each step, followed back from the
    best last one.
    """
    best_BL = chain.start_L + scores_TBL[0]
    from_TBL = list[Tensor]()
    identity_L = torch.arange(len(chain.start_L), device=scores_TBL.device)
    for step in range(1, len(scores_TBL)):
        ways_BL, origins_BL = (best_BL[:, :, None] + chain.transitions_LL).max(dim=1)
        goes_on_B1 = (step < lengths_B)[:, None]
        best_BL = torch.where(goes_on_B1, ways_BL + scores_TBL[step], best_BL)
        from_TBL.append(torch.where(goes_on_B1, origins_BL, identity_L))  # an ended row keeps its label
    label_B = (best_BL + chain.end_L).argmax(dim=1)
    labels = [label_B]
    for origins_BL in reversed(from_TBL):
        labels.append(origins_BL.gather(1, labels[-1][:, None])[:, 0])
    path_TB = torch.stack(labels[::-1])
    inside_TB = torch.arange(len(scores_TBL), device=scores_TBL.device)[:, None] < lengths_B
    return path_TB * inside_TB
