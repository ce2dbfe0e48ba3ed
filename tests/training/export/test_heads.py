"""The graphs of taggers, classifiers and infilling models: proven, blind to padding, and the same in pieces."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqserve.training.arrays import Array
from seqserve.training.config import Pooling
from seqserve.training.export import classifier, infilling, parity, tagger
from seqserve.training.export.model import ExportedModel
from seqserve.training.runner import GraphRunner, initial_states

from ..models import CHARACTERS, VOCABULARY, WORDS, a_classifier, a_tagger, an_infiller

TAGGERS = [
    {"bidirectional": False},
    {"bidirectional": False, "spelling": False},
    {"spelling": False, "level": "character", "bigrams": 17},
    {"crf": True, "learned_initial_state": True},
]


@pytest.mark.parametrize("kind", TAGGERS, ids=str)
def test_taggers_are_proven(kind: dict[str, object]) -> None:
    network = a_tagger(**kind)  # type: ignore[arg-type]
    vocabulary = CHARACTERS if network.features.speller is None else WORDS
    proof = parity.prove(tagger.exported(network), tagger.TorchTagger(network), vocabulary, "digest")
    assert 0 < proof.max_abs_error_outputs < 1e-5
    assert proof.carried_cases > 0


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("pooling", list(Pooling))
def test_classifiers_are_proven(pooling: Pooling, bidirectional: bool) -> None:
    network = a_classifier(pooling=pooling, bidirectional=bidirectional)
    proof = parity.prove(classifier.exported(network), classifier.TorchClassifier(network), CHARACTERS, "digest")
    assert 0 < proof.max_abs_error_outputs < 1e-5
    assert (proof.carried_cases > 0) == (not bidirectional)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_infilling_models_are_proven(bidirectional: bool) -> None:
    network = an_infiller(bidirectional=bidirectional)
    proof = parity.prove(infilling.exported(network), infilling.TorchInfiller(network), CHARACTERS, "digest")
    assert 0 < proof.max_abs_error_outputs < 1e-5
    assert (proof.carried_cases > 0) == (not bidirectional)


@lru_cache
def runner(graph: bytes) -> GraphRunner:
    return GraphRunner(graph)


@lru_cache
def exported_classifier(pooling: Pooling, *, bidirectional: bool) -> ExportedModel:
    return classifier.exported(a_classifier(pooling=pooling, bidirectional=bidirectional))


def run(model: ExportedModel, rows: list[list[int]], states: dict[str, Array] | None = None) -> dict[str, Array]:
    """The graph's outputs for rows of tokens, padded to the longest."""
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    tokens = np.zeros((int(lengths.max()), len(rows)), dtype=np.int32)
    for column, row in enumerate(rows):
        tokens[: len(row), column] = row
    states = initial_states(model.states, len(rows)) if states is None else states
    return runner(model.graph)({"tokens": tokens, "lengths": lengths, **states})


ROWS = [[3, 1, 4], [5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6], [2], [6, 2, 6, 4, 3, 3, 8, 3]]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("pooling", list(Pooling))
def test_padding_does_not_change_a_logit_by_one_bit(pooling: Pooling, bidirectional: bool) -> None:
    model = exported_classifier(pooling, bidirectional=bidirectional)
    together = run(model, ROWS)["logits"]
    for row, tokens in enumerate(ROWS):
        np.testing.assert_array_equal(together[row], run(model, [tokens])["logits"][0])


@settings(max_examples=25)
@given(cuts=st.sets(st.integers(1, len(ROWS[1]) - 1)))
@pytest.mark.parametrize("pooling", list(Pooling))
def test_a_text_in_pieces_is_classified_as_the_whole(pooling: Pooling, cuts: set[int]) -> None:
    model = exported_classifier(pooling, bidirectional=False)
    whole = run(model, [ROWS[1]])["logits"]
    states: dict[str, Array] | None = None
    borders = [0, *sorted(cuts), len(ROWS[1])]
    for start, end in pairwise(borders):
        outputs = run(model, [ROWS[1][start:end]], states)
        states = {state.input: outputs[state.output] for state in model.states}
    if pooling is Pooling.ATTENTION:  # earlier outputs are weighted again
        np.testing.assert_allclose(outputs["logits"], whole, atol=1e-6)
    else:
        np.testing.assert_array_equal(outputs["logits"], whole)


def test_poolings_are_what_their_names_say() -> None:
    for pooling in (Pooling.LAST, Pooling.MEAN, Pooling.MAX):
        network = a_classifier(pooling=pooling, spelling=False)
        tokens = torch.tensor([ROWS[0]]).T
        y, _ = network.stack(network.features(tokens, None), torch.tensor([3]), network.stack.initial_state(1))
        pooled = {
            Pooling.LAST: torch.cat((y[2, 0, :6], y[0, 0, 6:])),
            Pooling.MEAN: y[:, 0].mean(dim=0),
            Pooling.MAX: y[:, 0].amax(dim=0),
        }[pooling]
        expected = network.head(pooled).detach().numpy()
        np.testing.assert_allclose(run(classifier.exported(network), [ROWS[0]])["logits"][0], expected, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_no_token_is_predicted_from_itself_and_all_others_count(bidirectional: bool) -> None:
    model = infilling.exported(an_infiller(bidirectional=bidirectional))
    tokens = ROWS[3]
    before = run(model, [tokens])["logits"][:, 0]
    for place in range(len(tokens)):
        changed = [*tokens[:place], (tokens[place] + 1) % VOCABULARY, *tokens[place + 1 :]]
        after = run(model, [changed])["logits"][:, 0]
        same = [bool((after[step] == before[step]).all()) for step in range(len(tokens))]
        assert same == [step == place or (not bidirectional and step < place) for step in range(len(tokens))]
