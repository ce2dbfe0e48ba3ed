"""What counting knows of tokens and labels before training begins, and that classifiers and taggers begin with it."""

from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from seqserve.training.config import ClassifierConfig, TaggerConfig
from seqserve.training.data.conllu import Sentence
from seqserve.training.data.ratios import ratios_of_texts, ratios_of_tokens
from seqserve.training.data.sentences import tag_data
from seqserve.training.data.texts import class_data
from seqserve.training.errors import DataError
from seqserve.training.networks.words import PAIR_SLOTS, pair_numbers
from seqserve.training.tasks.classifier import ClassifierLearner
from seqserve.training.tasks.tagger import TaggerLearner
from seqserve.training.tokenizers.sequences import character_tokenizer, word_id, word_tokenizer

TEXTS = (("good", "good", "film"), ("bad", "film"), ("bad",))
NAMES = (("pos",), ("neg",), ("neg",))


def test_ratios_are_those_of_the_formula() -> None:
    tokenizer = word_tokenizer([word for text in TEXTS for word in text], size_max=9, count_min=1, lowercase=True)
    data = class_data(TEXTS, NAMES, tokenizer, ("neg", "pos"), word_bytes_max=8)
    ratios_VL = ratios_of_texts(data, tokenizer.get_vocab_size())
    # With one added to each of the 4 tokens' counts: unknown, good, bad, film.
    assert np.allclose(ratios_VL[word_id(tokenizer, "good")], [log((1 / 7) / (2 / 6)), log((2 / 6) / (1 / 7))])
    assert np.allclose(ratios_VL[word_id(tokenizer, "bad")], [log((3 / 7) / (1 / 6)), log((1 / 6) / (3 / 7))])
    assert np.allclose(ratios_VL[word_id(tokenizer, "film")], [log((2 / 7) / (2 / 6)), log((2 / 6) / (2 / 7))])


def test_ratios_of_tagged_tokens_are_those_of_the_formula() -> None:
    sentences = [Sentence(("a", "a", "b"), ("X", "O", "O"), ""), Sentence(("b", "a"), ("O", "X"), "")]
    tokenizer = character_tokenizer("ab", unknown_token=True)
    ratios_VL = ratios_of_tokens(tag_data(sentences, tokenizer, ("O", "X"), word_bytes_max=1), 3, 2)
    # With one added to each count: unknown 1 and 1, a 3 with X and 2 without, b 1 with X and 3 without.
    with_x, without_x = np.array([1, 3, 1]) / 5, np.array([1, 2, 3]) / 6
    order = [0, word_id(tokenizer, "a"), word_id(tokenizer, "b")]
    assert np.allclose(ratios_VL[order, 1], np.log(with_x / without_x))
    assert np.allclose(ratios_VL[order, 0], -ratios_VL[order, 1])


def test_a_tagger_begins_with_the_ratios_of_its_labels(tmp_path: Path) -> None:
    data = tmp_path / "words.conll"
    data.write_text("the DET\ncat NOUN\n\nthe DET\ndog NOUN\n\n" * 9, encoding="utf-8")
    sizes = {"embedding_size": 40, "hidden_size": 4, "batch_size": 4}
    learner = TaggerLearner(
        TaggerConfig.model_validate({"data": [data], "validation": [data], "count_ratios": True, **sizes})
    )
    weight = learner.network.features.embedding.weight.detach()
    assert learner.labels == ("DET", "NOUN")
    assert weight[word_id(learner.tokenizer, "the"), 0] > 1 > weight[word_id(learner.tokenizer, "the"), 1]
    assert weight[word_id(learner.tokenizer, "cat"), 0] < -1 < weight[word_id(learner.tokenizer, "cat"), 1]


def test_embeddings_begin_with_the_ratios_and_the_rest_is_small(tmp_path: Path) -> None:
    learner = ClassifierLearner(config(tmp_path, embedding_size=40))
    weight = learner.network.features.embedding.weight.detach().double().numpy()
    good, bad = (weight[word_id(learner.tokenizer, word)] for word in ("good", "bad"))
    assert good[1] > 0 > good[0]
    assert bad[0] > 0 > bad[1]
    assert weight[:, 2:].std() < 0.2


def test_frequent_pairs_have_features_of_their_own_and_all_others_the_same(tmp_path: Path) -> None:
    data = tmp_path / "words.conll"
    data.write_text("a X\nb Y\n\na X\nb Y\n\nb Y\na X\n\na X\nb Y\n\n", encoding="utf-8")
    sizes = {"embedding_size": 4, "hidden_size": 4, "batch_size": 3}

    def rows(bigrams: int) -> list[int]:
        """Rows of: a with b, b at the end, b with a, a at the end; three, three, one and one time in the data."""
        config = TaggerConfig.model_validate({"data": [data], "validation": [data], "bigrams": bigrams, **sizes})
        learner = TaggerLearner(config)
        a, b = (word_id(learner.tokenizer, word) for word in "ab")
        numbers_TB = pair_numbers(torch.tensor([[a, b], [b, a]]))
        return learner.network.features.pair_rows_S[numbers_TB % PAIR_SLOTS].T.flatten().tolist()

    with_b, at_the_end, *rare = rows(9)
    assert {with_b, at_the_end} == {1, 2}
    assert rare == [0, 0]
    assert sorted(rows(2)) == [0, 0, 0, 1]  # a table of two rows has room for one pair


def test_more_labels_than_numbers_in_an_embedding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 labels.*--embedding-size"):
        ClassifierLearner(config(tmp_path, embedding_size=1))


def config(folder: Path, *, embedding_size: int) -> ClassifierConfig:
    """A small classifier of good and bad."""
    data = folder / "texts.tsv"
    data.write_text("text\tlabel\n" + "good film\tpos\nbad film\tneg\n" * 20, encoding="utf-8")
    sizes = {"embedding_size": embedding_size, "hidden_size": 4, "batch_size": 4}
    return ClassifierConfig.model_validate({"data": [data], "validation": [data], "count_ratios": True, **sizes})
