"""From the steps of a sequence to one vector: the last, the mean, the greatest of each unit, or an attended mean.

Only steps that count take part, so padding changes nothing. Every pooling but that of the last step also has a state:
what it has gathered so far, from which it goes on when a sequence comes in pieces.

Axes: T time, B batch, H units.
"""

import torch
from torch import Tensor, nn

from seqserve.training.config import Pooling
from seqserve.training.layers import State

NOTHING = -1e30
"""Greatest value of no steps at all: below any other, and finite, for a state has to be."""


class Pool(nn.Module):
    """Pools the outputs of a recurrent stack.

    Its state, each tensor (1, B, size): for the mean the sum of the steps and their number; for the greatest that of
    each unit; for attention the greatest weight's logarithm, the sum of the weights over it, and the weighted sum of
    the steps (Bahdanau, Cho and Bengio 2015 for the weights, without a query; Milakov and Gimelshein 2018 for the
    sums).
    """

    def __init__(self, kind: Pooling, size: int) -> None:
        """Pool vectors of ``size`` units."""
        super().__init__()
        self.kind = kind
        self.size = size
        self.hidden = nn.Linear(size, size) if kind is Pooling.ATTENTION else None
        self.score = nn.Linear(size, 1) if kind is Pooling.ATTENTION else None

    @property
    def state_sizes(self) -> dict[str, int]:
        """Names of the state's tensors in order, and the size of each."""
        return {
            Pooling.LAST: {},
            Pooling.MEAN: {"pooled_sum": self.size, "pooled_steps": 1},
            Pooling.MAX: {"pooled_max": self.size},
            Pooling.ATTENTION: {"attended_log": 1, "attended_weight": 1, "attended_sum": self.size},
        }[self.kind]

    def initial_state(self, batch: int, like: Tensor) -> State:
        """The state before the first step; of the type and on the device of ``like``."""
        return tuple(like.new_full((1, batch, size), initial_value(name)) for name, size in self.state_sizes.items())

    def forward(self, y_TBH: Tensor, last_BH: Tensor, lengths_B: Tensor, state: State) -> tuple[Tensor, State]:
        """One vector a sequence.

        Args:
            y_TBH: outputs of a stack.
            last_BH: the last of each direction, where its reading ended.
            lengths_B: int64 (B), each in [1, T].
            state: as ``initial_state`` gives it, or what an earlier piece gave.
        Returns: (B, H), and the state after the sequence.
        """
        inside_TB1 = (torch.arange(len(y_TBH), device=y_TBH.device)[:, None] < lengths_B.to(y_TBH.device))[..., None]
        if self.kind is Pooling.MEAN:
            sum_1BH = state[0] + (y_TBH * inside_TB1).sum(0, keepdim=True)
            steps_1B1 = state[1] + inside_TB1.to(y_TBH.dtype).sum(0, keepdim=True)
            return (sum_1BH / steps_1B1)[0], (sum_1BH, steps_1B1)
        if self.kind is Pooling.MAX:
            greatest_1BH = torch.maximum(state[0], y_TBH.masked_fill(~inside_TB1, NOTHING).amax(0, keepdim=True))
            return greatest_1BH[0], (greatest_1BH,)
        if self.hidden is None or self.score is None:
            return last_BH, ()
        score_TB1 = self.score(torch.tanh(self.hidden(y_TBH))).masked_fill(~inside_TB1, NOTHING)
        log_1B1 = torch.maximum(state[0], score_TB1.amax(0, keepdim=True))
        weights_TB1, before_1B1 = torch.exp(score_TB1 - log_1B1), torch.exp(state[0] - log_1B1)
        weight_1B1 = state[1] * before_1B1 + weights_TB1.sum(0, keepdim=True)
        sum_1BH = state[2] * before_1B1 + (weights_TB1 * y_TBH).sum(0, keepdim=True)
        return (sum_1BH / weight_1B1)[0], (log_1B1, weight_1B1, sum_1BH)


def initial_value(name: str) -> float:
    """What every element of a state's tensor is before the first step."""
    return NOTHING if name in ("pooled_max", "attended_log") else 0.0
