"""Pooling of the steps of a sequence to one vector: last, mean, maximum per unit, or attention.

Only valid steps contribute, so padding has no effect. Except for the last step, every pooling has a state, with which
it continues when a sequence arrives in pieces.

Axes: T time, B batch, H units.
"""

import torch
from torch import Tensor, nn

from seqserve.training.config import Pooling
from seqserve.training.layers import State

NOTHING = -1e30
"""Maximum over no steps: below any other value, and finite, because states must be finite."""


class Pool(nn.Module):
    """Pools the outputs of a recurrent stack.

    The state tensors have the shape (1, B, size). Mean: sum and number of the steps. Maximum: maximum of each unit.
    Attention: logarithm of the largest weight, sum of the weights relative to it, and weighted sum of the steps
    (weights as in Bahdanau, Cho, and Bengio 2015, without a query; sums as in Milakov and Gimelshein 2018).
    """

    def __init__(self, kind: Pooling, size: int) -> None:
        """Creates the pooling.

        Args:
            kind: How to reduce the steps.
            size: Number of units of each step.
        """
        super().__init__()
        self.kind = kind
        self.size = size
        self.hidden = nn.Linear(size, size) if kind is Pooling.ATTENTION else None
        self.score = nn.Linear(size, 1) if kind is Pooling.ATTENTION else None

    @property
    def state_sizes(self) -> dict[str, int]:
        """Names and sizes of the state tensors, in order."""
        return {
            Pooling.LAST: {},
            Pooling.MEAN: {"pooled_sum": self.size, "pooled_steps": 1},
            Pooling.MAX: {"pooled_max": self.size},
            Pooling.ATTENTION: {"attended_log": 1, "attended_weight": 1, "attended_sum": self.size},
        }[self.kind]

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Returns the state before the first step, with the dtype and device of ``like``."""
        return tuple(like.new_full((1, batch, size), initial_value(name)) for name, size in self.state_sizes.items())

    def forward(self, y_TBH: Tensor, last_BH: Tensor, lengths_B: Tensor, state: State) -> tuple[Tensor, State]:
        """Reduces each sequence to one vector.

        Args:
            y_TBH: float (T, B, H), outputs of a stack.
            last_BH: float (B, H), last output of each direction.
            lengths_B: int64 (B), each in [1, T].
            state: State from ``initial_state`` or from an earlier piece.

        Returns:
            Vectors (B, H), and the state after the sequence.
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
    """Returns the value of every element of a state tensor before the first step."""
    return NOTHING if name in ("pooled_max", "attended_log") else 0.0
