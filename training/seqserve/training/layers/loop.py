"""Layers that run a formula over time, for cells that torch doesn't have and for int8.

Axes: T time, B batch, I inputs, H hidden units, D directions, N blocks * H.
"""

from collections.abc import Iterable, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from seqserve.training.layers.formulas import Formula, Operations

ON_TENSORS = Operations[Tensor](
    product=nn.functional.linear,
    split=lambda x, parts: x.chunk(parts, dim=-1),
    sigmoid=torch.sigmoid,
    tanh=torch.tanh,
    relu=torch.relu,
    complement=lambda x: 1 - x,
)


class Direction(nn.Module):
    """One direction of a layer: W and b for the input, and the recurrent weights of the formula."""

    def __init__(self, formula: Formula, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.formula = formula
        width = len(formula.blocks) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(width, input_size))
        self.bias_ih = nn.Parameter(torch.empty(width))
        self.weight_hh = nn.ParameterDict(
            {name: torch.empty(blocks * hidden_size, hidden_size) for name, blocks in formula.recurrent.items()}
        )
        self.vectors = nn.ParameterDict({name: torch.empty(hidden_size) for name in formula.vectors})

    def forward(self, x_TBI: Tensor, counts_TB1: Tensor | None, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Runs over time, from the first step to the last.

        Args:
            x_TBI: float (T, B, I).
            counts_TB1: bool (T, B, 1), which steps are valid; None if all are. Other steps don't change the state.
            state: Initial states, each (B, H).

        Returns:
            Outputs (T, B, H), zeros at invalid steps, followed by the final states.
        """
        from_x_TBN = nn.functional.linear(x_TBI, self.weight_ih, self.bias_ih)  # one product for all steps
        weights = dict(self.weight_hh.items()) | dict(self.vectors.items())
        return over_time(self.formula, ON_TENSORS, from_x_TBN, counts_TB1, state, weights)


def over_time(
    formula: Formula,
    on: Operations[Tensor],
    from_x_TBN: Tensor,
    counts_TB1: Tensor | None,
    state: tuple[Tensor, ...],
    weights: Mapping[str, Tensor],
) -> tuple[Tensor, ...]:
    """Runs the steps of a formula in order. Arguments and results as in ``Direction.forward``."""
    steps: list[Tensor] = []
    for t, from_x_BN in enumerate(from_x_TBN.unbind()):
        output, after = formula.step(on, from_x_BN, state, weights)
        if counts_TB1 is None:
            state = after
        else:
            state = tuple(torch.where(counts_TB1[t], new, old) for new, old in zip(after, state, strict=True))
        steps.append(output)
    y_TBH = torch.stack(steps)
    return (y_TBH if counts_TB1 is None else y_TBH * counts_TB1, *state)


class LoopLayer(nn.Module):
    """One layer of a cell, in one direction or both."""

    def __init__(self, directions: Iterable[nn.Module]) -> None:
        """Creates a layer.

        Args:
            directions: The forward and, if bidirectional, the backward direction, with the interface of ``Direction``.
        """
        super().__init__()
        self.directions = nn.ModuleList(directions)

    @classmethod
    def of(cls, formula: Formula, input_size: int, hidden_size: int, *, bidirectional: bool) -> Self:
        """Creates a layer of a formula, with uninitialized weights."""
        return cls(Direction(formula, input_size, hidden_size) for _ in range(2 if bidirectional else 1))

    def forward(
        self, x_TBI: Tensor, lengths_B: Tensor | None, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs the layer. Arguments and results as in ``RecurrentStack.forward``, for one layer."""
        times_T1 = torch.arange(x_TBI.shape[0], device=x_TBI.device).unsqueeze(1)
        lengths = None if lengths_B is None else lengths_B.to(x_TBI.device)
        counts_TB1 = None if lengths is None else (times_T1 < lengths).unsqueeze(2)
        outputs: list[Tensor] = []
        finals: list[tuple[Tensor, ...]] = []
        for index, direction in enumerate(self.directions):
            initial = tuple(tensor[index] for tensor in state)
            x = reversed_rows(x_TBI, lengths) if index else x_TBI
            y_TBH, *final = direction(x, counts_TB1, initial)
            outputs.append(reversed_rows(y_TBH, lengths) if index else y_TBH)
            finals.append(tuple(final))
        return torch.cat(outputs, dim=2), tuple(torch.stack(tensors) for tensors in zip(*finals, strict=True))


def reversed_rows(x_TBN: Tensor, lengths_B: Tensor | None) -> Tensor:
    """Reverses the valid steps of each row; padding stays in place. Is its own inverse."""
    if lengths_B is None:
        return x_TBN.flip(0)
    times_T1 = torch.arange(x_TBN.shape[0], device=x_TBN.device).unsqueeze(1)
    order_TB = torch.where(times_T1 < lengths_B, lengths_B - 1 - times_T1, times_T1)
    return x_TBN.gather(0, order_TB.unsqueeze(2).expand_as(x_TBN))
