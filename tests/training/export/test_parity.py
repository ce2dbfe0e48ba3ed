"""The proof holds for what was exported, and only for that."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from seqserve.training.arrays import Array
from seqserve.training.config import CellKind
from seqserve.training.errors import ExportError
from seqserve.training.export import parity, tagger, windows
from seqserve.training.export.language_model import TorchLanguageModel
from seqserve.training.export.language_model import exported as exported_language_model
from seqserve.training.export.operators import OPERATORS
from seqserve.training.export.tagger import TorchTagger
from seqserve.training.export.tagger import exported as exported_tagger

from ..models import CHARACTERS, WORDS, a_language_model, a_tagger


@pytest.mark.parametrize("cell", list(CellKind))
def test_every_cell_is_proven_with_state_carried_over_cuts(cell: CellKind) -> None:
    network = a_language_model(cell)
    proof = parity.prove(exported_language_model(network), TorchLanguageModel(network), CHARACTERS, "digest")
    assert 0 < proof.max_abs_error_outputs < 1e-5
    assert 0 < proof.max_abs_error_states < 1e-5
    cut = len(parity.BATCH_SIZES) * (len(parity.LENGTHS) - 1)  # a single step cannot be cut
    assert proof.carried_cases >= cut
    assert proof.cases == 2 * len(parity.BATCH_SIZES) * len(parity.LENGTHS) + proof.carried_cases
    assert proof.graph_sha256 == "digest"
    assert 1 in proof.lengths
    assert 1 in proof.batch_sizes


@pytest.mark.parametrize("cell", list(CellKind))
def test_bidirectional_taggers_are_proven_in_windows(cell: CellKind) -> None:
    network = a_tagger(cell)
    proof = parity.prove(exported_tagger(network), TorchTagger(network), WORDS, "digest")
    assert 0 < proof.max_abs_error_outputs < 1e-5
    assert 0 < proof.max_abs_error_states < 1e-5
    assert proof.carried_cases >= 2 * len(parity.BATCH_SIZES) * (len(parity.LENGTHS) - 1)


def test_forward_states_after_another_step_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = windows.windowed
    monkeypatch.setattr(
        tagger, "windowed", lambda build, name, stack, x, lengths, _: right(build, name, stack, x, lengths, lengths)
    )
    network = a_tagger()
    with pytest.raises(ExportError, match="differs from the trained network"):
        parity.prove(exported_tagger(network), TorchTagger(network), WORDS, "digest")


@pytest.mark.parametrize("cell", list(OPERATORS))
def test_a_wrong_order_of_gates_is_caught(cell: CellKind, monkeypatch: pytest.MonkeyPatch) -> None:
    network = a_language_model(cell)
    right = OPERATORS[cell]
    monkeypatch.setitem(OPERATORS, cell, replace(right, gates=right.gates[::-1]))
    broken = exported_language_model(network)
    with pytest.raises(ExportError, match=r"differs from the trained network: outputs by .* nothing was written"):
        parity.prove(broken, TorchLanguageModel(network), CHARACTERS, "digest")


def test_a_reset_gate_before_the_product_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    network = a_language_model(CellKind.GRU)
    monkeypatch.setitem(OPERATORS, CellKind.GRU, replace(OPERATORS[CellKind.GRU], attributes={}))
    broken = exported_language_model(network)
    with pytest.raises(ExportError, match="differs"):
        parity.prove(broken, TorchLanguageModel(network), CHARACTERS, "digest")


def test_weights_that_are_not_numbers_are_caught() -> None:
    network = a_language_model()
    network.head.bias.data[0] = float("nan")
    with pytest.raises(ExportError, match="outputs by nan"):
        parity.prove(exported_language_model(network), TorchLanguageModel(network), CHARACTERS, "digest")


@pytest.mark.parametrize("cell", [CellKind.LSTM, CellKind.RNN])
def test_one_weight_that_differs_by_a_thousandth_is_caught(cell: CellKind) -> None:
    network = a_language_model(cell)
    exported = exported_language_model(network)
    network.stack.layers[0].get_parameter("weight_hh_l0").data[3, 2] += 1e-3
    with pytest.raises(ExportError, match="differs from the trained network"):
        parity.prove(exported, TorchLanguageModel(network), CHARACTERS, "digest")


@pytest.mark.parametrize("cell", [CellKind.LSTM, CellKind.RNN_RELU])
def test_large_values_are_judged_by_what_torch_loses_on_them(cell: CellKind) -> None:
    network = a_language_model(cell)
    network.head.weight.data *= 1000
    proof = parity.prove(exported_language_model(network), TorchLanguageModel(network), CHARACTERS, "digest")
    assert parity.TOLERANCE < proof.max_abs_error_outputs <= proof.tolerance < 0.1


def test_tied_weights_are_exported_and_proven() -> None:
    network = a_language_model(embedding_size=7, tied_weights=True)
    assert network.head.weight is network.embedding.weight
    proof = parity.prove(exported_language_model(network), TorchLanguageModel(network), CHARACTERS, "digest")
    assert proof.max_abs_error_outputs < parity.TOLERANCE


def test_tied_weights_need_embeddings_as_wide_as_the_layers() -> None:
    with pytest.raises(ValidationError, match="tied_weights: embedding_size 4 must equal hidden_size, 7"):
        a_language_model(tied_weights=True)


class Faultless(TorchLanguageModel):
    """A network in float32 that loses nothing, as on a processor whose sums are exact."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        network = self.network
        if network.head.weight.dtype != torch.float32:
            return super().__call__(inputs)
        exact = parity.in_float64(TorchLanguageModel(network))(inputs)
        return {name: value.astype(np.float32) for name, value in exact.items()}


def test_what_is_allowed_does_not_rest_on_how_exact_torch_is_here() -> None:
    network = a_language_model()
    network.head.weight.data *= 1000
    proof = parity.prove(exported_language_model(network), Faultless(network), CHARACTERS, "digest")
    assert parity.TOLERANCE < proof.max_abs_error_outputs <= proof.tolerance < 0.1
