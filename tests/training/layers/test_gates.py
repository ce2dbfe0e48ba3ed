"""Gates at their limits: what a cell becomes when a gate is held open or shut, in torch and in ONNX Runtime.

A gate's bias of 40 makes it 1, and of -40 makes it 0, as far as float32 can tell.
"""

import numpy as np
import pytest
import torch
from torch import nn

from seqserve.training.config import CellKind

from ..stacks import Stack, a_stack, graph_of

OPEN, SHUT = 40.0, -40.0
SIZE = 6
STEPS = 5
Run = tuple[np.ndarray, dict[str, np.ndarray]]


def held(cell: CellKind, **gates: float) -> Stack:
    """A cell whose gates, by their block of biases (``g0``, ``g1``, ...), are held open or shut."""
    stack = a_stack(cell, hidden_size=SIZE)
    layer = stack.torch.layers[0]
    with torch.no_grad():
        bias = next(value for name, value in layer.named_parameters() if "bias_ih" in name)
        for gate, value in gates.items():
            block = int(gate[1:])
            bias[block * SIZE : (block + 1) * SIZE] = value
    return Stack(stack.torch, graph_of(stack.torch))


def both(stack: Stack) -> list[tuple[Run, np.ndarray, dict[str, np.ndarray]]]:
    """What torch and ONNX Runtime give, with the input and the states that they got."""
    generator = np.random.default_rng(1)
    x = generator.uniform(-1, 1, (STEPS, 3, 5)).astype(np.float32)
    lengths, states = np.full(3, STEPS, np.int32), stack.states(3, generator)
    return [(run(x, lengths, states), x, states) for run in (stack.in_torch, stack.in_onnx)]


@pytest.mark.parametrize("cell", [CellKind.LSTM, CellKind.LSTM_PEEPHOLE])
def test_forget_1_and_input_0_keep_the_cell_exactly(cell: CellKind) -> None:
    for (_, finals), _, states in both(held(cell, g0=SHUT, g1=OPEN)):
        np.testing.assert_array_equal(finals["c0"], states["c0"])


def test_a_coupled_input_gate_that_is_shut_keeps_the_cell_exactly() -> None:
    for (_, finals), _, states in both(held(CellKind.LSTM_COUPLED, g0=SHUT)):
        np.testing.assert_array_equal(finals["c0"], states["c0"])


@pytest.mark.parametrize("cell", [CellKind.LSTM, CellKind.LSTM_PEEPHOLE])
def test_forget_0_and_input_1_reset_the_cell_to_the_candidate(cell: CellKind) -> None:
    for (_, finals), _, states in both(held(cell, g0=OPEN, g1=SHUT)):
        assert np.abs(finals["c0"]).max() < 1  # a candidate is a tanh
        assert np.abs(finals["c0"] - states["c0"]).max() > 0.1


def test_an_output_gate_that_is_shut_hides_the_cell_which_goes_on() -> None:
    for (y, finals), _, states in both(held(CellKind.LSTM, g3=SHUT)):
        np.testing.assert_allclose(y, 0, atol=1e-16)
        assert np.abs(finals["c0"] - states["c0"]).max() > 0.1


@pytest.mark.parametrize(
    ("cell", "gate", "value"),
    [
        (CellKind.GRU, "g1", OPEN),
        (CellKind.GRU_RESET_BEFORE, "g1", OPEN),
        (CellKind.GRU_UPDATE_ONLY, "g0", OPEN),
        (CellKind.MGU, "g0", SHUT),  # its gate lets the new in
    ],
)
def test_a_gate_that_keeps_keeps_the_state_exactly(cell: CellKind, gate: str, value: float) -> None:
    # torch's GRU is n + z * (h - n): with |h|, |n| <= 1 the difference loses an epsilon, the sum half of one, each step
    rounded = STEPS * 1.5 * float(np.finfo(np.float32).eps) if cell is CellKind.GRU else 0
    for (y, finals), _, states in both(held(cell, **{gate: value})):
        np.testing.assert_allclose(finals["h0"], states["h0"], rtol=0, atol=rounded)
        np.testing.assert_allclose(y, np.broadcast_to(states["h0"], y.shape), rtol=0, atol=rounded)


@pytest.mark.parametrize("cell", [CellKind.GRU, CellKind.GRU_RESET_BEFORE])
def test_update_0_and_reset_1_make_a_plain_rnn(cell: CellKind) -> None:
    stack = held(cell, g0=OPEN, g1=SHUT)
    plain = a_stack(CellKind.RNN, hidden_size=SIZE).torch
    copy_block(plain.layers[0], stack.torch.layers[0], recurrent=True)
    for ((y, _), _, _), ((wanted, _), _, _) in zip(both(stack), both(Stack(plain, graph_of(plain))), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", [CellKind.GRU, CellKind.GRU_RESET_BEFORE])
def test_update_0_and_reset_0_make_a_feed_forward_layer(cell: CellKind) -> None:
    stack = held(cell, g0=SHUT, g1=SHUT)
    layer = stack.torch.layers[0]
    plain = nn.Linear(5, SIZE)
    copy_block(plain, layer, recurrent=False)
    for (y, _), x, _ in both(stack):
        wanted = torch.tanh(plain(torch.from_numpy(x))).detach().numpy()
        np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)


def copy_block(target: nn.Module, gru: nn.Module, *, recurrent: bool) -> None:
    """The candidate's weights of a GRU to a layer that has nothing else."""
    found = {name.split("directions.0.")[-1].removesuffix("_l0"): value for name, value in gru.named_parameters()}
    new = slice(2 * SIZE, None)
    if recurrent:
        R = found["weight_hh.R_n"] if "weight_hh.R_n" in found else found["weight_hh"][new]
        r = found["bias_hh"][new] if "bias_hh" in found else torch.zeros(SIZE)
        weights = {"weight_ih_l0": found["weight_ih"][new], "bias_ih_l0": found["bias_ih"][new]}
        weights |= {"weight_hh_l0": R, "bias_hh_l0": r}
    else:  # a recurrent bias is behind the reset gate
        weights = {"weight": found["weight_ih"][new], "bias": found["bias_ih"][new]}
    target.load_state_dict({name: value.detach() for name, value in weights.items()})


@pytest.mark.parametrize("leak", [0.1, 0.9])
def test_a_leaky_unit_without_input_keeps_its_part_of_the_state(leak: float) -> None:
    stack = a_stack(CellKind.LEAKY, hidden_size=SIZE).torch
    with torch.no_grad():
        for name, parameter in stack.named_parameters():
            parameter.fill_(np.log(leak / (1 - leak)) if name.endswith("leak") else 0.0)
    states = torch.rand(1, 2, SIZE)
    _, (final,) = stack(torch.zeros(4, 2, 5), None, (states,))
    torch.testing.assert_close(final, states * leak**4)


@pytest.mark.parametrize("cell", [cell for cell in CellKind if cell not in (CellKind.RNN_RELU, CellKind.SRU)])
def test_what_a_cell_shows_lies_between_minus_1_and_1(cell: CellKind) -> None:
    stack = a_stack(cell, hidden_size=SIZE)
    generator = np.random.default_rng(2)
    x = generator.uniform(-1e4, 1e4, (30, 3, 5)).astype(np.float32)
    lengths, states = np.full(3, 30, np.int32), stack.states(3, generator)
    for run in (stack.in_torch, stack.in_onnx):
        assert np.abs(run(x, lengths, states)[0]).max() <= 1 + 1e-6  # ONNX Runtime's GRU has a tanh of 1.0000005
