"""The graph against loops in NumPy, which know nothing of torch or ONNX."""

import numpy as np
import onnx
import pytest

from seqserve.training.config import CellKind
from seqserve.training.export.graph import OPSET
from seqserve.training.export.language_model import exported as exported_language_model
from seqserve.training.export.tagger import exported as exported_tagger
from seqserve.training.networks import LanguageModel
from seqserve.training.runner import GraphRunner, initial_states
from seqserve.training.tensors import array

from ..models import a_language_model, a_tagger
from ..stacks import in_numpy

TOLERANCE = 1e-5


def expected(network: LanguageModel, tokens: np.ndarray, states: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits and final states by the formulas."""
    lengths = np.full(tokens.shape[1], len(tokens), dtype=np.int32)
    y, finals = in_numpy(network.stack, array(network.embedding.weight)[tokens], lengths, states)
    logits = y @ array(network.head.weight).T.astype(np.float64) + array(network.head.bias)
    return {"logits": logits, **{f"{name}_out": value for name, value in finals.items()}}


@pytest.mark.parametrize("cell", list(CellKind))
@pytest.mark.parametrize("layers", [1, 3])
def test_a_language_model_computes_its_formulas(cell: CellKind, layers: int) -> None:
    network = a_language_model(cell, layers)
    generator = np.random.default_rng(2)
    steps, batch = 9, 3
    tokens = generator.integers(0, 11, (steps, batch)).astype(np.int32)
    states = {name: generator.uniform(-1, 1, (1, batch, 7)).astype(np.float32) for name in network.stack.state_names}
    lengths = np.full(batch, steps, dtype=np.int32)
    outputs = GraphRunner(exported_language_model(network).graph)({"tokens": tokens, "lengths": lengths, **states})
    wanted = expected(network, tokens, states)
    assert outputs.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(outputs[name], value, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("cell", list(CellKind))
def test_padding_changes_neither_outputs_nor_final_states(cell: CellKind) -> None:
    network = a_language_model(cell)
    graph = GraphRunner(exported_language_model(network).graph)
    generator = np.random.default_rng(3)
    tokens = generator.integers(0, 11, (8, 2)).astype(np.int32)
    states = {name: generator.uniform(-1, 1, (1, 2, 7)).astype(np.float32) for name in network.stack.state_names}
    padded = graph({"tokens": tokens, "lengths": np.array([3, 8], dtype=np.int32), **states})
    first = {name: state[:, :1] for name, state in states.items()}
    alone = graph({"tokens": tokens[:3, :1], "lengths": np.array([3], dtype=np.int32), **first})
    np.testing.assert_array_equal(padded["logits"][:3, :1], alone["logits"])
    for name in network.stack.state_names:
        np.testing.assert_array_equal(padded[f"{name}_out"][:, :1], alone[f"{name}_out"])


def test_a_sentence_is_tagged_alike_alone_and_beside_a_longer_one_with_longer_words() -> None:
    model = exported_tagger(a_tagger())
    graph = GraphRunner(model.graph)
    generator = np.random.default_rng(4)
    tokens = generator.integers(0, 11, (5, 2)).astype(np.int32)
    word_bytes = generator.integers(1, 257, (5, 2, 6)).astype(np.int32)
    word_lengths = np.array([[2, 6], [3, 1], [0, 4], [0, 2], [0, 6]], dtype=np.int32)
    word_bytes[np.arange(6) >= word_lengths[..., None]] = 0
    lengths = np.array([2, 5], dtype=np.int32)
    inputs = {"tokens": tokens, "lengths": lengths, "word_bytes": word_bytes, "word_lengths": word_lengths}

    def scores(inputs: dict[str, np.ndarray]) -> np.ndarray:
        batch = len(inputs["lengths"])
        return graph(inputs | initial_states(model.states, batch) | {"carry_lengths": np.ones(batch, np.int32)})[
            "scores"
        ]

    both = scores(inputs)
    first = {
        "tokens": tokens[:2, :1],
        "lengths": lengths[:1],
        "word_bytes": word_bytes[:2, :1, :3],
        "word_lengths": word_lengths[:2, :1],
    }
    alone = scores(first)
    np.testing.assert_array_equal(both[:2, :1], alone)


def test_one_operator_a_layer_and_the_declared_opset() -> None:
    model = onnx.load_model_from_string(exported_language_model(a_language_model(CellKind.GRU, layers=3)).graph)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("GRU") == 3
    assert model.opset_import[0].version == OPSET


def test_equal_weights_give_equal_bytes() -> None:
    assert exported_tagger(a_tagger()).graph == exported_tagger(a_tagger()).graph


def test_an_empty_batch_never_reaches_onnx_runtime() -> None:
    graph = GraphRunner(exported_language_model(a_language_model()).graph)
    with pytest.raises(ValueError, match="empty batch"):
        graph({"tokens": np.zeros((3, 0), dtype=np.int32), "lengths": np.zeros(0, dtype=np.int32)})
