"""Stacks of recurrent layers: take lengths and states, and return states.

Axes: T time, B batch, I inputs, H hidden units, D directions (1, or 2 with the backward one second).
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqserve.training.config import CellKind, NetworkConfig
from seqserve.training.layers.formulas import FORMULAS
from seqserve.training.layers.initial import initialise
from seqserve.training.layers.loop import LoopLayer

State: TypeAlias = tuple[Tensor, ...]
"""State tensors of a stack, layer by layer, each (D, B, H): two (h, c) per LSTM layer, one for most other cells."""

STATE_KINDS: dict[CellKind, tuple[str, ...]] = {cell: formula.states for cell, formula in FORMULAS.items()}


class RecurrentStack(nn.Module):
    """A stack of recurrent layers, with dropout between them and optional residual connections."""

    def __init__(self, config: NetworkConfig, input_size: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.cell = config.cell
        self.input_size = input_size
        self.hidden_size = config.hidden_size
        self.directions = 2 if bidirectional else 1
        self.output_size = config.hidden_size * self.directions
        self.residual = config.residual
        widths = [input_size] + [self.output_size] * (config.layers - 1)
        self.layers = nn.ModuleList(
            made_layer(config.cell, width, config.hidden_size, bidirectional=bidirectional) for width in widths
        )
        for layer in self.layers:
            initialise(layer, config)
        self.dropout = nn.Dropout(config.dropout)
        self.initial = nn.ParameterDict()
        if config.learned_initial_state:
            shape = (self.directions, config.hidden_size)
            self.initial.update({name: nn.Parameter(torch.zeros(shape)) for name in self.state_names})

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state tensors in order: h0, c0, h1, c1, ..."""
        return tuple(f"{kind}{layer}" for layer in range(len(self.layers)) for kind in STATE_KINDS[self.cell])

    def initial_state(self, batch: int) -> State:
        """Returns the initial state of sequences, each tensor (D, B, H): zeros, or the learned state."""
        if self.initial:
            return tuple(self.initial[name].unsqueeze(1).expand(-1, batch, -1) for name in self.state_names)
        reference = next(self.parameters())
        return tuple(reference.new_zeros(self.directions, batch, self.hidden_size) for _ in self.state_names)

    def forward(
        self, x_TBI: Tensor, lengths_B: Tensor | None, state: State, carry_lengths_B: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Runs all layers.

        Args:
            x_TBI: float (T, B, I).
            lengths_B: int64 (B) on the CPU, each in [1, T]: number of valid steps per row; None if all are valid.
            state: State to start from, as ``initial_state`` returns it.
            carry_lengths_B: int64 (B) on the CPU, each in [1, the row's length]: step of each row after which the
                forward states are returned. None: after the last.

        Returns:
            Outputs (T, B, D * H), zeros in the padding, and the states after the last step of each row or after
            ``carry_lengths_B``; in the latter case backward states are meaningless.
        """
        finals: list[Tensor] = []
        kinds = len(STATE_KINDS[self.cell])
        for index, layer in enumerate(self.layers):
            before = self.dropout(x_TBI) if index else x_TBI
            mine = state[index * kinds : (index + 1) * kinds]
            y_TBH, final = run_layer(layer, before, lengths_B, mine)
            if carry_lengths_B is not None:
                _, final = run_layer(layer, before[: int(carry_lengths_B.max())], carry_lengths_B, mine)
            x_TBI = y_TBH + x_TBI if index and self.residual else y_TBH
            finals.extend(final)
        return x_TBI, tuple(finals)


def made_layer(cell: CellKind, input_size: int, hidden_size: int, *, bidirectional: bool) -> nn.Module:
    """Creates one layer: that of torch if it has the cell, otherwise a loop over the formula of the cell."""
    match cell:
        case CellKind.LSTM:
            return nn.LSTM(input_size, hidden_size, bidirectional=bidirectional)
        case CellKind.GRU:
            return nn.GRU(input_size, hidden_size, bidirectional=bidirectional)
        case CellKind.RNN:
            return nn.RNN(input_size, hidden_size, bidirectional=bidirectional)
        case CellKind.RNN_RELU:
            return nn.RNN(input_size, hidden_size, bidirectional=bidirectional, nonlinearity="relu")
        case _:
            return LoopLayer.of(FORMULAS[cell], input_size, hidden_size, bidirectional=bidirectional)


def run_layer(layer: nn.Module, x_TBI: Tensor, lengths_B: Tensor | None, state: State) -> tuple[Tensor, State]:
    """Runs one layer from its ``state``. Arguments and results as in ``RecurrentStack.forward``."""
    if isinstance(layer, LoopLayer):
        y_TBH, final = layer(x_TBI, lengths_B, state)
        return y_TBH, final
    initial = state if isinstance(layer, nn.LSTM) else state[0]
    if lengths_B is None:
        y_TBH, final = layer(x_TBI, initial)
    else:
        packed, final = layer(pack_padded_sequence(x_TBI, lengths_B, enforce_sorted=False), initial)
        y_TBH, _ = pad_packed_sequence(packed, total_length=x_TBI.shape[0])
    return y_TBH, final if isinstance(layer, nn.LSTM) else (final,)
