import math

import numpy as np
import pytest
import torch

from seqserve.training.arrays import Array
from seqserve.training.data.conllu import Sentence
from seqserve.training.data.corpus import TokenText
from seqserve.training.data.sentences import tag_data
from seqserve.training.evaluation import metrics
from seqserve.training.export.language_model import TorchLanguageModel
from seqserve.training.export.model import state_specs
from seqserve.training.tokenizers.sequences import word_tokenizer
from seqserve.v1 import manifest_pb2

from ..models import VOCABULARY, a_language_model


def test_the_loss_of_a_text_is_that_of_one_run_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    network = a_language_model()
    ids = np.random.default_rng(1).integers(0, VOCABULARY, 50).astype(np.int32)
    with torch.inference_mode():
        logits, _ = network(torch.tensor(ids[:-1, None]), None, network.stack.initial_state(1))
        loss = torch.nn.functional.cross_entropy(logits[:, 0], torch.tensor(ids[1:]).long()).item()
    monkeypatch.setattr(metrics, "WINDOW_STEPS", 7)  # the state has to be carried over seven borders
    text = TokenText(ids, np.array([0]), characters=49, first_characters=0, tokens={})
    figures = metrics.evaluate_language_model(TorchLanguageModel(network), state_specs(network.stack), text)
    assert figures["loss"] == pytest.approx(loss, abs=1e-6)
    assert figures["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    assert figures["bits_per_character"] == pytest.approx(loss / math.log(2), rel=1e-6)


def test_accuracy_counts_every_word_once_and_an_unseen_label_as_wrong() -> None:
    sentences = [Sentence(("a", "b"), ("X", "Y"), ""), Sentence(("a", "a", "b"), ("X", "NEW", "X"), "")]
    tokenizer = word_tokenizer(["a", "b"], size_max=9, count_min=1, lowercase=True)
    data = tag_data(sentences, tokenizer, ("X", "Y"), word_bytes_max=4)

    def always_x(inputs: object) -> dict[str, Array]:
        return {"scores": np.tile(np.array([1.0, 0.0], dtype=np.float32), (3, 2, 1))}

    manifest = manifest_pb2.Manifest(labels=manifest_pb2.Labels(names=("X", "Y")))
    judgement = metrics.evaluate_tagger(always_x, manifest, data)
    figures = judgement.figures
    assert figures["accuracy"] == 3 / 5
    assert figures["unseen_labels"] == 1
    assert judgement.confusion is not None
    assert judgement.confusion.counts == {("X", "X"): 3, ("Y", "X"): 1, ("NEW", "X"): 1}
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    assert figures["loss"] == pytest.approx((3 * right + wrong) / 4)


def test_probabilities_of_all_targets_add_up_to_one() -> None:
    logits = np.array([[1000.0, 999.0, -1000.0]], dtype=np.float32)
    losses = [float(metrics.negative_log_likelihood(logits, np.array([t], dtype=np.int32))[0]) for t in range(3)]
    assert sum(math.exp(-loss) for loss in losses) == pytest.approx(1.0)
