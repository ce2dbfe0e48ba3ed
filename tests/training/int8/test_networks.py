"""Networks in int8: the graph is the network in torch, keeps its bits, and its products of bytes are exact."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from seqserve.training.config import CellKind, Pooling
from seqserve.training.config.network import UNBOUNDED
from seqserve.training.errors import ExportError
from seqserve.training.export import classifier, infilling, language_model, parity, tagger
from seqserve.training.export import int8 as nodes
from seqserve.training.export.bits import perturbed, prove_bits
from seqserve.training.export.graph import GraphBuilder
from seqserve.training.export.model import ExportedModel
from seqserve.training.export.nodes import NodeBuilder
from seqserve.training.int8 import Int8Linear, ProductTable, quantized
from seqserve.training.int8.rounding import LEVELS, column_scales, rounded, row_scales
from seqserve.training.networks import LanguageModel
from seqserve.training.runner import GraphRunner
from seqserve.v1 import manifest_pb2

from ..models import CHARACTERS, VOCABULARY, WORDS, a_classifier, a_language_model, a_tagger, an_infiller

CELLS = [cell for cell in CellKind if cell not in UNBOUNDED]
HEADS: list[tuple[Any, Any, Callable[[], Any], manifest_pb2.Vocabulary]] = [
    (tagger, tagger.TorchTagger, a_tagger, WORDS),
    (tagger, tagger.TorchTagger, lambda: a_tagger(CellKind.GRU, bidirectional=False, spelling=False), CHARACTERS),
    (tagger, tagger.TorchTagger, lambda: a_tagger(CellKind.MGU, crf=True, bigrams=17), WORDS),
    *(
        (classifier, classifier.TorchClassifier, partial(a_classifier, pooling=pooling, bidirectional=both), CHARACTERS)
        for pooling, both in [(Pooling.MEAN, False), (Pooling.MAX, True), (Pooling.ATTENTION, False)]
    ),
    (infilling, infilling.TorchInfiller, an_infiller, CHARACTERS),
    (infilling, infilling.TorchInfiller, lambda: an_infiller(bidirectional=False), CHARACTERS),
]


def prove(exporter: Any, runner: Any, network: Any, vocabulary: manifest_pb2.Vocabulary) -> manifest_pb2.ParityProof:
    """Both proofs of a network in int8."""
    model, reference = exporter.exported(network), runner(network)
    proof = parity.prove(model, reference, vocabulary, "digest", perturbed(reference))
    prove_bits(model, vocabulary)
    return proof


def prove_language_model(network: LanguageModel) -> manifest_pb2.ParityProof:
    return prove(language_model, language_model.TorchLanguageModel, network, CHARACTERS)


def a_tabled_model(cell: CellKind = CellKind.LSTM) -> LanguageModel:
    """So wide that a table of the first layer's products is a small part of it."""
    return a_language_model(cell, hidden_size=65, embedding_size=300)


@pytest.mark.parametrize("cell", CELLS)
def test_every_bounded_cell_is_proven_and_keeps_its_bits(cell: CellKind) -> None:
    proof = prove_language_model(quantized(a_language_model(cell, layers=3, residual=True)))
    assert proof.max_abs_error_outputs <= proof.tolerance < 0.5
    assert proof.carried_cases > 0


@pytest.mark.parametrize("head", range(len(HEADS)))
def test_every_head_is_proven_and_keeps_its_bits(head: int) -> None:
    exporter, runner, network, vocabulary = HEADS[head]
    assert prove(exporter, runner, quantized(network()), vocabulary).cases > 0


@pytest.mark.parametrize("cell", [CellKind.LSTM, CellKind.GRU])
def test_few_tokens_are_a_table_of_products(cell: CellKind) -> None:
    network = a_tabled_model(cell)
    tabled = quantized(network)
    assert isinstance(tabled.embedding, ProductTable)
    prove_language_model(tabled)
    assert not isinstance(quantized(a_language_model(cell)).embedding, ProductTable)  # it would be half of the servable


def test_a_wide_network_takes_a_quarter_of_the_bytes() -> None:
    network = a_language_model(hidden_size=128, embedding_size=128)
    small, large = (language_model.exported(each).graph for each in (quantized(network), network))
    assert len(small) < 0.3 * len(large)


def test_the_trained_network_stays_as_it_was() -> None:
    network = a_language_model()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    quantized(network)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("cell", list(UNBOUNDED))
def test_a_cell_without_a_range_is_refused_with_the_reason(cell: CellKind) -> None:
    with pytest.raises(
        ExportError, match=f"from -1 to 1. {cell} cannot be in int8: {UNBOUNDED[cell]}; export it in fp32"
    ):
        quantized(a_language_model(cell))


def test_a_learned_initial_state_out_of_range_is_refused() -> None:
    network = a_language_model(learned_initial_state=True)
    network.stack.initial["c0"].data.fill_(3.0)  # cells are not rounded
    quantized(network)
    network.stack.initial["h1"].data[0, 2] = -1.25
    with pytest.raises(ExportError, match=r"the learned initial state h1 reaches 1.25"):
        quantized(network)


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
@given(seed=st.integers(0, 1 << 32), terms=st.integers(1, 40))
def test_two_weights_of_a_pair_are_at_most_128_steps(size: float, seed: int, terms: int) -> None:
    generator = np.random.default_rng(seed)
    weight = torch.from_numpy(generator.standard_t(2, (5, terms)).astype(np.float32) * size)
    scales = column_scales(weight)
    steps = nodes.signed_bytes(rounded(weight, scales), scales).astype(np.int64)
    pairs = np.abs(np.pad(steps, ((0, 0), (0, terms % 2)))).reshape(5, -1, 2).sum(axis=2)
    assert pairs.max() <= 128
    assert (pairs.max(axis=1) >= LEVELS - 1).all()  # all of the range is used
    lost = np.abs(steps - weight.numpy() / scales.numpy())
    assert lost.max() < 0.501  # half a step, and what float32 rounds


@pytest.mark.parametrize(("terms", "outputs"), [(1, 1), (7, 5), (33, 20), (512, 96), (1023, 3)])
def test_products_of_bytes_are_exact_at_their_limits(terms: int, outputs: int) -> None:
    generator = np.random.default_rng(terms)
    weight = generator.integers(-127, 128, (terms, outputs))
    weight[1::2] = (128 - np.abs(weight[: terms - terms % 2 : 2])) * generator.choice([-1, 1], weight[1::2].shape)
    weight = weight.clip(-127, 127).astype(np.int8)
    graph = graph_of_product(weight)
    for batch in (1, 2, 3, 16, 65):
        for rows in (
            np.full((batch, terms), 255),
            np.zeros((batch, terms)),
            generator.integers(0, 256, (batch, terms)),
        ):
            found = graph({"tokens": rows.astype(np.uint8)})["y"]
            np.testing.assert_array_equal(found, (rows.astype(np.int64) - 128) @ weight.astype(np.int64))


def graph_of_product(weight: np.ndarray) -> Any:
    build = GraphBuilder()
    rows = build.input("tokens", TensorProto.UINT8, ("B", weight.shape[0]))
    names = [
        build.constant(name, value) for name, value in (("w", weight), ("s", np.ones(weight.shape[1], np.float32)))
    ]
    build.output("y", TensorProto.FLOAT, ("B", weight.shape[1]))
    nodes.bytes_product(build, "y", rows, names[0], names[1], build.constant("z", np.uint8(128)))
    return GraphRunner(build.serialized("product"))


def test_a_row_is_rounded_by_itself() -> None:
    """Rounding keeps a row's bits; torch's product of the rounded row does not on every processor.

    How torch orders the sum of a product depends on the processor and on the number of rows. That a row keeps its bits
    from one batch to another is promised for the graph, whose sums are of integers: ``prove_bits``.
    """
    generator = torch.Generator().manual_seed(3)
    layer = Int8Linear(torch.randn(4, 6, generator=generator), torch.randn(4, generator=generator), None)
    rows = torch.tensor([[1e-4] * 6, [3.0, -2.0, 0.0, 1.0, 0.5, 0.1], [0.0] * 6, [1e6] * 6])
    rounded_rows, together = layer.rounding(rows), layer(rows)
    # Two orders of one sum of K products and a bias: each is off by at most K + 1 roundings of the absolute terms.
    terms = rows.shape[1] + 1
    allowed = (
        2 * terms * torch.finfo(torch.float32).eps * (rounded_rows.abs() @ layer.weight.abs().T + layer.bias.abs())
    )
    for index, row in enumerate(rows):
        assert torch.equal(layer.rounding(row[None])[0], rounded_rows[index])
        assert ((layer(row[None])[0] - together[index]).abs() <= allowed[index]).all()
    assert torch.equal(together[2], layer.bias)
    assert (row_scales(rows)[:, 0] > 0).all()


def edited(model: ExportedModel, name: str, change: Callable[[np.ndarray], np.ndarray]) -> ExportedModel:
    """The model with one constant changed."""
    graph = onnx.ModelProto.FromString(model.graph)
    tensor = next(each for each in graph.graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    return ExportedModel(graph.SerializeToString(), model.inputs, model.outputs, model.states)


@pytest.mark.parametrize("constant", ["layer0.forward.R.scales", "layer1.forward.from_x.scales", "logits.scales"])
def test_a_scale_that_is_wrong_by_a_hundredth_is_caught(constant: str) -> None:
    network = quantized(a_language_model())
    reference = language_model.TorchLanguageModel(network)
    model = edited(language_model.exported(network), constant, lambda scales: scales * np.float32(1.01))
    with pytest.raises(ExportError, match="differs from the trained network"):
        parity.prove(model, reference, CHARACTERS, "digest", perturbed(reference))


def test_a_weight_that_is_wrong_by_a_step_is_caught() -> None:
    network = quantized(a_language_model())
    reference = language_model.TorchLanguageModel(network)

    def one_more(weight: np.ndarray) -> np.ndarray:
        weight[2, 3] += 1
        return weight

    model = edited(language_model.exported(network), "layer0.forward.R", one_more)
    with pytest.raises(ExportError, match="in half of the cases"):
        parity.prove(model, reference, CHARACTERS, "digest", perturbed(reference))


def test_a_graph_whose_rows_see_each_other_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def over_the_batch(build: NodeBuilder, name: str, x: str) -> tuple[str, str]:
        rounded, steps = per_row(build, name, x)
        greatest = build.node("ReduceMax", [steps], f"{name}.over_all", keepdims=1)
        return rounded, build.node("Max", [steps, greatest], f"{name}.all")

    per_row = nodes._row_bytes
    monkeypatch.setattr(nodes, "_row_bytes", over_the_batch)
    model = language_model.exported(quantized(a_language_model()))
    with pytest.raises(ExportError, match=r"does not keep its bits: \w+ differs for row \d+ of \d+ by itself"):
        prove_bits(model, CHARACTERS)


def test_bigger_vocabularies_are_bytes_too() -> None:
    network = quantized(a_language_model())
    table = next(each for each in graph_constants(language_model.exported(network)) if each.name == "embedding.table")
    values = numpy_helper.to_array(table)
    assert values.dtype == np.int8
    assert values.shape == (VOCABULARY, 4)


def graph_constants(model: ExportedModel) -> Any:
    return onnx.ModelProto.FromString(model.graph).graph.initializer
