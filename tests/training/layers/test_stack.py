"""Stacks of layers: residual connections, learned initial states, dropout between layers, both directions."""

import numpy as np
import pytest
import torch

from seqserve.training.config import CellKind, NetworkConfig
from seqserve.training.export.model import state_specs
from seqserve.training.layers import STATE_KINDS, RecurrentStack
from seqserve.training.layers.loop import reversed_rows
from seqserve.training.layers.stack import run_layer
from seqserve.training.runner import initial_states

from ..stacks import a_stack

CELLS = list(CellKind)


@pytest.mark.parametrize("cell", [CellKind.GRU, CellKind.SRU])
def test_a_residual_layer_adds_its_input_to_its_output(cell: CellKind) -> None:
    plain, residual = (a_stack(cell, layers=2, residual=value).torch for value in (False, True))
    x, state = torch.randn(6, 3, 5), plain.initial_state(3)
    lengths = torch.tensor([6, 2, 4])
    below, _ = run_layer(plain.layers[0], x, lengths, state[:1])
    torch.testing.assert_close(residual(x, lengths, state)[0], plain(x, lengths, state)[0] + below)


@pytest.mark.parametrize("cell", CELLS)
def test_both_directions_are_two_runs_one_of_them_backward_row_by_row(cell: CellKind) -> None:
    both = a_stack(cell, bidirectional=True).torch
    x, lengths = torch.randn(6, 4, 5), torch.tensor([6, 1, 4, 5])
    y, finals = both(x, lengths, both.initial_state(4))
    for direction in (0, 1):
        one = a_stack(cell).torch
        mine = list(one.layers[0].parameters())
        theirs = list(both.layers[0].parameters())[direction * len(mine) :]
        with torch.no_grad():
            for target, value in zip(mine, theirs, strict=False):
                target.copy_(value)
        source = reversed_rows(x, lengths) if direction else x
        alone, last = one(source, lengths, one.initial_state(4))
        alone = reversed_rows(alone, lengths) if direction else alone
        torch.testing.assert_close(y[..., direction * 7 : (direction + 1) * 7], alone)
        for final, value in zip(finals, last, strict=True):
            torch.testing.assert_close(final[direction : direction + 1], value)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", [CellKind.LSTM, CellKind.LSTM_PEEPHOLE, CellKind.GRU, CellKind.MGU])
def test_a_learned_initial_state_is_in_the_graph_or_in_the_manifest(cell: CellKind, bidirectional: bool) -> None:
    stack = a_stack(cell, layers=2, bidirectional=bidirectional, learned_initial_state=True)
    assert all(tensor.abs().min() > 0 for tensor in stack.torch.initial_state(1))
    x, lengths = np.random.default_rng(0).uniform(-1, 1, (6, 3, 5)).astype(np.float32), np.array([6, 2, 4], np.int32)
    from_manifest = {} if bidirectional else initial_states(state_specs(stack.torch), 3)
    wanted, _ = stack.in_torch(x, lengths, stack.initial(3))
    found, _ = stack.in_onnx(x, lengths, from_manifest)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_sequences_start_from_zeros_unless_that_is_learned() -> None:
    stack = a_stack(CellKind.LSTM, layers=2).torch
    assert [tensor.shape for tensor in stack.initial_state(3)] == [(1, 3, 7)] * 4
    assert all((tensor == 0).all() for tensor in stack.initial_state(3))
    assert all(not spec.initial_values for spec in state_specs(stack))


@pytest.mark.parametrize("cell", CELLS)
def test_states_are_named_by_kind_and_layer(cell: CellKind) -> None:
    stack = a_stack(cell, layers=2).torch
    assert stack.state_names == tuple(f"{kind}{layer}" for layer in (0, 1) for kind in STATE_KINDS[cell])


def test_dropout_is_between_layers_and_in_training_alone() -> None:
    x = torch.randn(4, 2, 3)
    for layers, differs in ((1, False), (2, True)):
        stack = RecurrentStack(NetworkConfig(layers=layers, hidden_size=16, dropout=0.5), 3, bidirectional=False)
        state = stack.initial_state(2)
        first, second = stack(x, None, state)[0], stack(x, None, state)[0]
        assert (not torch.equal(first, second)) == differs
        stack.eval()
        assert torch.equal(stack(x, None, state)[0], stack(x, None, state)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_weights_are_shared_over_time(cell: CellKind) -> None:
    """What ran over 20 steps runs over 500, with the same numbers."""
    stack = a_stack(cell).torch
    x, state = torch.randn(500, 1, 5), stack.initial_state(1)
    with torch.inference_mode():
        torch.testing.assert_close(stack(x, None, state)[0][:20], stack(x[:20], None, state)[0])
