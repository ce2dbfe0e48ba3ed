"""Initialization of the weights of a layer.

Input weights: Xavier uniform over all gates, or uniform within 1/sqrt(H). Recurrent weights: orthogonal per gate, or
uniform; those with one number per unit are uniform. Biases: zero or uniform; gates that keep the state get an
additional bias. If torch has two bias vectors, only that of the input gets it.

The forget bias follows Jozefowicz, Zaremba, and Sutskever 2015. Chrono initialization follows Tallec and Ollivier 2018,
section 2: for a longest dependency of T steps, gates that keep the state have the bias log(u), and input gates have
-log(u), with u uniform in [1, T - 1], drawn for each unit.
"""

import math

import torch
from torch import Tensor, nn

from seqserve.training.config import CellKind, NetworkConfig
from seqserve.training.config.network import Biases, InputWeights, RecurrentWeights

FORGET_GATES = {CellKind.LSTM: (1, 1), CellKind.LSTM_PEEPHOLE: (1, 1), CellKind.LSTM_COUPLED: (0, -1)}
"""Bias block of the gate that controls forgetting in an LSTM, and the sign that makes it forget less."""
KEEPING_GATES = {
    CellKind.LSTM: ((1, 1), (0, -1)),
    CellKind.LSTM_PEEPHOLE: ((1, 1), (0, -1)),
    CellKind.LSTM_COUPLED: ((0, -1),),
    CellKind.GRU: ((1, 1),),
    CellKind.GRU_RESET_BEFORE: ((1, 1),),
    CellKind.GRU_UPDATE_ONLY: ((0, 1),),
    CellKind.MGU: ((0, -1),),
    CellKind.SRU: ((0, 1),),
}
"""Bias blocks that chrono initialization sets, and their signs: 1 keeps the state, -1 takes the candidate."""


@torch.no_grad()
def initialise(layer: nn.Module, config: NetworkConfig) -> None:
    """Initializes the weights of a layer of ``config.cell``."""
    size = config.hidden_size
    bound = 1 / math.sqrt(size)
    for path, parameter in layer.named_parameters():
        name = path.removeprefix("directions.0.").removeprefix("directions.1.")
        if name.startswith("weight_hh") and config.recurrent_weights is RecurrentWeights.ORTHOGONAL:
            for block in torch.split(parameter, size):
                nn.init.orthogonal_(block)
        elif name.startswith("weight_ih") and config.input_weights is InputWeights.XAVIER:
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("bias") and config.biases is Biases.ZERO:
            parameter.zero_()
        elif name == "vectors.leak":
            _set_leak(parameter, config)
        else:
            parameter.uniform_(-bound, bound)
        if name.startswith("bias_ih"):
            _bias_gates(parameter, config)


def _bias_gates(bias: Tensor, config: NetworkConfig) -> None:
    blocks = torch.split(bias, config.hidden_size)
    if config.chrono_span is not None:
        keep = _log_spans(config.hidden_size, config.chrono_span)
        for block, sign in KEEPING_GATES.get(config.cell, ()):
            blocks[block].copy_(sign * keep)
    elif config.cell in FORGET_GATES:
        block, sign = FORGET_GATES[config.cell]
        blocks[block].add_(sign * config.forget_bias)


def _set_leak(leak: nn.Parameter, config: NetworkConfig) -> None:
    """Sets the kept fraction s(leak): u / (1 + u) with chrono initialization, else the same for all units."""
    leak.requires_grad_(config.learned_leak)
    if config.chrono_span is not None:
        leak.copy_(_log_spans(len(leak), config.chrono_span))
    else:
        leak.fill_(math.log(config.leak / (1 - config.leak)))


def _log_spans(size: int, span: int) -> Tensor:
    """Draws log(u), with u uniform in [1, span - 1]."""
    return torch.empty(size).uniform_(1, max(span - 1, 1)).log()
