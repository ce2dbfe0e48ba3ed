"""Recurrent layers in torch: a stack that takes lengths and states, and gives states back.

Axes: T time, B batch, I inputs, H hidden units, D directions (1, or 2 with the backward one second).
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqserve.training.config import CellKind

State: TypeAlias = tuple[Tensor, ...]
"""Recurrent tensors of a stack, layer by layer, each (D, B, H): an LSTM layer has two (h, c), a GRU layer one (h)."""

STATE_KINDS = {CellKind.LSTM: ("h", "c"), CellKind.GRU: ("h",)}
MODULES: dict[CellKind, type[nn.LSTM] | type[nn.GRU]] = {CellKind.LSTM: nn.LSTM, CellKind.GRU: nn.GRU}


class RecurrentStack(nn.Module):
    """Recurrent layers on top of each other, with dropout between them."""

    def __init__(
        self, cell: CellKind, input_size: int, hidden_size: int, layers: int, *, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.directions = 2 if bidirectional else 1
        self.output_size = hidden_size * self.directions
        widths = [input_size] + [self.output_size] * (layers - 1)
        self.layers = nn.ModuleList(
            initialised(MODULES[cell](width, hidden_size, bidirectional=bidirectional)) for width in widths
        )
        self.dropout = nn.Dropout(dropout)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state's tensors in order: h0, c0, h1, c1, ..."""
        return tuple(f"{kind}{layer}" for layer in range(len(self.layers)) for kind in STATE_KINDS[self.cell])

    def initial_state(self, batch: int) -> State:
        """Zeros (D, B, H) for every tensor of the state."""
        reference = next(self.parameters())
        return tuple(reference.new_zeros(self.directions, batch, self.hidden_size) for _ in self.state_names)

    def forward(self, x_TBI: Tensor, lengths_B: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Run all layers.

        Args:
            x_TBI: float (T, B, I).
            lengths_B: int64 (B) on the CPU, each in [1, T]: steps that count in each row; None if all do.
            state: as ``initial_state`` gives it; rows start from it.
        Returns: outputs (T, B, D * H), zeros where a row has ended, and the states after each row's last step.
        """
        finals: list[Tensor] = []
        kinds = len(STATE_KINDS[self.cell])
        for index, layer in enumerate(self.layers):
            x_TBI = self.dropout(x_TBI) if index else x_TBI
            x_TBI, final = run_layer(layer, x_TBI, lengths_B, state[index * kinds : (index + 1) * kinds])
            finals.extend(final)
        return x_TBI, tuple(finals)


def run_layer(layer: nn.Module, x_TBI: Tensor, lengths_B: Tensor | None, state: State) -> tuple[Tensor, State]:
    """Run one layer from ``state`` ((h, c) or (h,)); arguments and results as in ``RecurrentStack.forward``."""
    initial = state[0] if isinstance(layer, nn.GRU) else state
    if lengths_B is None:
        y_TBH, final = layer(x_TBI, initial)
    else:
        packed, final = layer(pack_padded_sequence(x_TBI, lengths_B, enforce_sorted=False), initial)
        y_TBH, _ = pad_packed_sequence(packed, total_length=x_TBI.shape[0])
    return y_TBH, (final,) if isinstance(layer, nn.GRU) else final


def initialised(layer: nn.LSTM | nn.GRU) -> nn.LSTM | nn.GRU:
    """Set a layer's first weights: orthogonal recurrent matrices, zero biases, and 1 for an LSTM's forget gate.

    The forget bias of 1 is Jozefowicz, Zaremba and Sutskever 2015, section 4. torch adds two bias vectors: the one of
    the input gets the 1, the recurrent one 0. torch's order of gates is input, forget, cell, output.
    """
    size = layer.hidden_size
    for name, parameter in layer.named_parameters():
        with torch.no_grad():
            if name.startswith("weight_hh"):
                for gate in range(0, len(parameter), size):
                    nn.init.orthogonal_(parameter[gate : gate + size])
            elif name.startswith("bias"):
                parameter.zero_()
                if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
                    parameter[size : 2 * size] = 1.0
            else:
                nn.init.xavier_uniform_(parameter)
    return layer
