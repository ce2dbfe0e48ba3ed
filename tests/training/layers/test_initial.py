"""First weights are what the configuration says."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from seqserve.training.config import CellKind, NetworkConfig
from seqserve.training.layers import RecurrentStack

SIZE = 200
CELLS = list(CellKind)
GATED = [cell for cell in CELLS if cell not in (CellKind.RNN, CellKind.RNN_RELU)]


def parameters(cell: CellKind, **more: object) -> dict[str, Tensor]:
    """Of one layer in both directions, by their last names."""
    torch.manual_seed(0)
    config = NetworkConfig.model_validate({"cell": cell, "hidden_size": SIZE, **more})
    layer = RecurrentStack(config, 10, bidirectional=True).layers[0]
    return {name: value.detach() for name, value in layer.named_parameters()}


def keeping(cell: CellKind, found: dict[str, Tensor]) -> Tensor:
    """The bias with which the forward direction keeps its state."""
    bias = next(value for name, value in found.items() if "bias_ih" in name) if cell is not CellKind.LEAKY else None
    match cell:
        case CellKind.LSTM | CellKind.LSTM_PEEPHOLE | CellKind.GRU | CellKind.GRU_RESET_BEFORE:
            assert bias is not None
            return bias[SIZE : 2 * SIZE]
        case CellKind.GRU_UPDATE_ONLY | CellKind.SRU:
            assert bias is not None
            return bias[:SIZE]
        case CellKind.LEAKY:
            return found["directions.0.vectors.leak"]
        case _:  # coupled gates, MGU: their gate takes the new in
            assert bias is not None
            return -bias[:SIZE]


@pytest.mark.parametrize("cell", [CellKind.LSTM, CellKind.LSTM_PEEPHOLE, CellKind.LSTM_COUPLED])
def test_an_lstm_remembers_from_the_start(cell: CellKind) -> None:
    assert (keeping(cell, parameters(cell)) == 1).all()
    assert (keeping(cell, parameters(cell, forget_bias=2.5)) == 2.5).all()


@pytest.mark.parametrize("cell", CELLS)
def test_other_biases_are_zero(cell: CellKind) -> None:
    biases = torch.cat([value for name, value in parameters(cell).items() if "bias" in name])
    forget = 2 * SIZE if cell in (CellKind.LSTM, CellKind.LSTM_PEEPHOLE, CellKind.LSTM_COUPLED) else 0
    assert biases.count_nonzero() == forget  # one of torch's two vectors in each direction


@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_the_state_are_orthogonal_gate_by_gate(cell: CellKind) -> None:
    for name, value in parameters(cell).items():
        if "weight_hh" in name:
            for block in torch.split(value, SIZE):
                torch.testing.assert_close(block @ block.T, torch.eye(SIZE), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_all_uniform_is_what_torch_does(cell: CellKind) -> None:
    uniform = dict.fromkeys(("input_weights", "recurrent_weights", "biases"), "uniform")
    bound = 1 / math.sqrt(SIZE)
    for name, value in parameters(cell, **uniform, forget_bias=0.0).items():
        if not name.endswith("leak"):
            assert value.abs().max() <= bound
            assert value.abs().max() > 0.9 * bound
            assert value.std() == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_xavier_spreads_over_inputs_and_gates() -> None:
    weight = parameters(CellKind.LSTM)["weight_ih_l0"]
    assert weight.abs().max() == pytest.approx(math.sqrt(6 / (10 + 4 * SIZE)), rel=0.05)


@pytest.mark.parametrize("cell", GATED)
def test_chrono_biases_gates_to_remember_as_long_as_asked(cell: CellKind) -> None:
    keep = keeping(cell, parameters(cell, chrono_span=1000))
    assert keep.min() >= 0
    assert keep.max() <= math.log(999)
    assert keep.exp().mean() == pytest.approx(500, rel=0.15)  # uniform in [1, 999]


@pytest.mark.parametrize("cell", [CellKind.LSTM, CellKind.LSTM_PEEPHOLE])
def test_chrono_shuts_the_input_gate_as_far_as_it_opens_the_forget_gate(cell: CellKind) -> None:
    found = parameters(cell, chrono_span=50)
    bias = next(value for name, value in found.items() if "bias_ih" in name)
    assert torch.equal(bias[:SIZE], -bias[SIZE : 2 * SIZE])
    assert not torch.equal(
        found[next(reversed([n for n in found if "bias_ih" in n]))], bias
    )  # drawn for each direction


@pytest.mark.parametrize("cell", [CellKind.RNN, CellKind.RNN_RELU])
def test_chrono_needs_gates(cell: CellKind) -> None:
    with pytest.raises(ValidationError, match=f"chrono_span biases gates, and {cell} has none"):
        NetworkConfig(cell=cell, chrono_span=10)


def test_a_leak_is_fixed_unless_it_is_to_be_learned() -> None:
    for learned in (False, True):
        stack = RecurrentStack(
            NetworkConfig(cell=CellKind.LEAKY, leak=0.8, learned_leak=learned), 3, bidirectional=False
        )
        leak = stack.layers[0].get_parameter("directions.0.vectors.leak")
        assert leak.requires_grad == learned
        torch.testing.assert_close(torch.sigmoid(leak), torch.full_like(leak, 0.8))


def test_equal_seeds_give_equal_weights() -> None:
    first, second = parameters(CellKind.SRU), parameters(CellKind.SRU)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert isinstance(RecurrentStack(NetworkConfig(), 3, bidirectional=False).layers[0], nn.LSTM)
