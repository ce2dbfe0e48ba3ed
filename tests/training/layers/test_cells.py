"""Every cell is its formula: in NumPy, in torch and in ONNX Runtime, with lengths, states and both directions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seqserve.training.config import CellKind
from seqserve.training.layers.formulas import FORMULAS
from seqserve.training.layers.loop import LoopLayer

from ..stacks import a_stack

TOLERANCE = 1e-5
CELLS = list(CellKind)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=4)
@given(
    seed=st.integers(0, 2**32 - 1),
    layers=st.integers(1, 2),
    input_size=st.integers(1, 9),
    hidden_size=st.integers(1, 33),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    residual=st.booleans(),
)
def test_numpy_torch_and_onnx_runtime_agree(
    cell: CellKind,
    bidirectional: bool,
    seed: int,
    layers: int,
    input_size: int,
    hidden_size: int,
    lengths: list[int],
    residual: bool,
) -> None:
    stack = a_stack(
        cell,
        input_size=input_size,
        hidden_size=hidden_size,
        bidirectional=bidirectional,
        layers=layers,
        residual=residual,
        seed=seed,
    )
    generator = np.random.default_rng(seed)
    rows = np.array(lengths, dtype=np.int32)
    x = generator.uniform(-1, 1, (max(lengths), len(lengths), input_size)).astype(np.float32)
    states = stack.initial(len(lengths)) if bidirectional else stack.states(len(lengths), generator)
    y, finals = stack.in_numpy(x, rows, states)
    scale = max(1.0, float(np.abs(y).max()))  # what ReLU lets grow is compared at its size
    for found_y, found in (stack.in_torch(x, rows, states), stack.in_onnx(x, rows, states)):
        np.testing.assert_allclose(found_y, y, rtol=0, atol=TOLERANCE * scale)
        for name, value in found.items():
            np.testing.assert_allclose(value, finals[name], rtol=0, atol=TOLERANCE * scale, err_msg=name)


def test_the_two_reset_gates_are_not_the_same() -> None:
    """What a GRU with the reset gate before the product would give with the weights of one that has it after."""
    after, before = a_stack(CellKind.GRU, hidden_size=16), a_stack(CellKind.GRU_RESET_BEFORE, hidden_size=16)
    trained, other = after.torch.layers[0], before.torch.layers[0]
    assert isinstance(other, LoopLayer)
    with torch.no_grad():
        trained.get_parameter("bias_hh_l0").zero_()
        gates, new = torch.split(trained.get_parameter("weight_hh_l0"), [32, 16])
        direction = other.directions[0]
        for name, value in (
            ("weight_ih", trained.get_parameter("weight_ih_l0")),
            ("bias_ih", trained.get_parameter("bias_ih_l0")),
            ("weight_hh.R_gates", gates),
            ("weight_hh.R_n", new),
        ):
            direction.get_parameter(name).copy_(value)
    generator = np.random.default_rng(0)
    x, lengths = generator.uniform(-1, 1, (6, 2, 5)).astype(np.float32), np.array([6, 6], np.int32)
    states = after.states(2, generator)
    assert np.abs(after.in_torch(x, lengths, states)[0] - before.in_torch(x, lengths, states)[0]).max() > 0.01


@pytest.mark.parametrize("cell", [CellKind.RNN, CellKind.RNN_RELU])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
def test_a_loop_over_a_formula_is_what_torch_has(cell: CellKind, bidirectional: bool) -> None:
    torch.manual_seed(0)
    theirs = nn.RNN(3, 4, bidirectional=bidirectional, nonlinearity="relu" if cell is CellKind.RNN_RELU else "tanh")
    ours = LoopLayer.of(FORMULAS[cell], 3, 4, bidirectional=bidirectional)
    with torch.no_grad():
        for direction, suffix in zip(ours.directions, ("_l0", "_l0_reverse"), strict=False):
            direction.get_parameter("weight_ih").copy_(theirs.get_parameter(f"weight_ih{suffix}"))
            direction.get_parameter("weight_hh.R").copy_(theirs.get_parameter(f"weight_hh{suffix}"))
            biases = theirs.get_parameter(f"bias_ih{suffix}") + theirs.get_parameter(f"bias_hh{suffix}")
            direction.get_parameter("bias_ih").copy_(biases)
    x, h = torch.randn(7, 2, 3), torch.randn(2 if bidirectional else 1, 2, 4)
    y, (final,) = ours(x, None, (h,))
    torch.testing.assert_close((y, final), theirs(x, h))


@pytest.mark.parametrize("cell", CELLS)
def test_an_output_does_not_depend_on_what_comes_later(cell: CellKind) -> None:
    stack = a_stack(cell, layers=2)
    generator = np.random.default_rng(0)
    x, lengths = generator.uniform(-1, 1, (8, 2, 5)).astype(np.float32), np.array([8, 8], np.int32)
    changed = x.copy()
    changed[5] += 1
    states = stack.states(2, generator)
    for run in (stack.in_torch, stack.in_onnx):
        before, after = run(x, lengths, states)[0], run(changed, lengths, states)[0]
        np.testing.assert_array_equal(before[:5], after[:5])
        assert (before[5] != after[5]).any()


@pytest.mark.parametrize("cell", CELLS)
def test_all_that_is_learned_gets_a_gradient(cell: CellKind) -> None:
    leaks = {"learned_leak": True} if cell is CellKind.LEAKY else {}
    stack = a_stack(cell, layers=2, bidirectional=True, learned_initial_state=True, **leaks).torch
    y, _ = stack(torch.randn(4, 3, 5), torch.tensor([4, 2, 3]), stack.initial_state(3))
    y.square().sum().backward()
    for name, parameter in stack.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
