"""Mentions in the place of others: what a tagger trains on instead of what its files say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqserve.training.config import TaggerConfig
from seqserve.training.data.conllu import Sentence
from seqserve.training.data.labels import spans
from seqserve.training.data.mentions import Mentions
from seqserve.training.errors import DataError
from seqserve.training.tasks.tagger import TaggerLearner
from seqserve.v1 import manifest_pb2

BIO = manifest_pb2.LABEL_SCHEME_BIO
SENTENCES = (
    Sentence(tuple("李白在成都。"), ("B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"), "", (1, 2, 3, 1, 2, 3)),
    Sentence(tuple("蘇軾在密州。"), ("B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"), "", (1, 2, 3, 1, 2, 3)),
    Sentence(tuple("我見王安石"), ("O", "O", "B-PER", "I-PER", "I-PER"), "", (3, 3, 1, 0, 2)),
)
NAMES = {"PER": {"李白", "蘇軾", "王安石"}, "LOC": {"成都", "密州"}}
FILE = "".join(
    "".join(f"{place}\t{word}\t{tag}\n" for place, (word, tag) in enumerate(rows, start=1)) + "\n"
    for rows in (
        (("李白", "B-PER"), ("在", "O"), ("成都", "B-LOC")),
        (("蘇軾", "B-PER"), ("去", "O"), ("密州", "B-LOC")),
    )
)


@given(part=st.floats(0, 1), seed=st.integers(0, 99), sentence=st.sampled_from(SENTENCES))
def test_a_mention_gives_way_to_one_of_its_kind_and_the_rest_stays(part: float, seed: int, sentence: Sentence) -> None:
    new = Mentions(SENTENCES, BIO).replaced(sentence, part, np.random.default_rng(seed))
    assert len(new.words) == len(new.tags) == len(new.edges)
    before, after = (list(spans(each.tags, BIO)) for each in (sentence, new))
    assert [span.kind for span in after] == [span.kind for span in before]
    for start, end, kind in after:
        assert "".join(new.words[start:end]) in NAMES[kind]
        assert new.edges[start:end] == (1, *[0] * (end - start - 2), 2)
    outside = [[word for word, tag in zip(s.words, s.tags, strict=True) if tag == "O"] for s in (sentence, new)]
    assert outside[0] == outside[1]


def test_as_many_are_replaced_as_asked_for_and_each_is_as_likely() -> None:
    common = Sentence(("東", "京"), ("B-LOC", "I-LOC"), "")
    rare = Sentence(("成", "都"), ("B-LOC", "I-LOC"), "")
    mentions, generator = Mentions([common] * 9 + [rare], BIO), np.random.default_rng(0)
    drawn = [mentions.replaced(common, 0.5, generator).words for _ in range(2000)]
    assert drawn.count(rare.words) == pytest.approx(500, abs=80)  # half replaced, half of those by the rare one
    assert mentions.replaced(common, 0.0, generator) is common


def test_a_tagger_trains_on_other_mentions_in_each_pass_and_again_on_the_same(tmp_path: Path) -> None:
    learner = TaggerLearner(config(tmp_path, mention_replacement=0.5))
    texts = [passes(learner, epoch) for epoch in (1, 2, 3, 1)]
    assert texts[0] == texts[3]
    assert len({tuple(text) for text in texts}) > 1
    assert {name for text in texts for sentence in text for name in (sentence[:2], sentence[3:])} <= {
        "李白",
        "蘇軾",
        "成都",
        "密州",
    }
    plain = TaggerLearner(config(tmp_path))
    assert passes(plain, 1) == passes(plain, 2)


def test_labels_without_spans_have_no_mentions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--mention-replacement out"):
        TaggerLearner(config(tmp_path, FILE.replace("B-", "")[:-1], mention_replacement=0.5))


def test_edges_of_words_are_learned_beside_the_labels_and_are_no_part_of_what_is_served(tmp_path: Path) -> None:
    torch.manual_seed(0)
    learner = TaggerLearner(config(tmp_path, word_edges=0.5))
    assert learner.network.edges is not None
    ((loss, tokens),) = learner.losses(1)
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = learner.network.edges.weight.grad
    assert tokens == 10
    assert gradient is not None
    assert gradient.abs().sum() > 0
    names = {name for name, _ in learner.network.named_parameters()}
    assert {"edges.weight", "edges.bias"} <= names
    assert learner.network.unserved == 4 * (learner.network.stack.output_size + 1)


def test_edges_of_words_are_of_characters() -> None:
    with pytest.raises(ValueError, match="word_edges does nothing without level character"):
        TaggerConfig.model_validate({"data": ["x"], "validation": ["x"], "word_edges": 0.5})


def passes(learner: TaggerLearner, epoch: int) -> list[str]:
    """The sentences of a pass, in order of the file."""
    for _ in learner.losses(epoch):
        pass
    data = learner.drawn(np.random.default_rng((0, epoch)))
    names = {learner.tokenizer.token_to_id(word): word for word in learner.tokenizer.get_vocab()}
    return ["".join(names[int(token)] for token in data.lexicon.ids[words]) for words in data.words]


def config(folder: Path, content: str = FILE, **more: object) -> TaggerConfig:
    """A small tagger of characters."""
    path = folder / "names.iob2"
    path.write_text(content, encoding="utf-8")
    sizes = {"embedding_size": 4, "hidden_size": 3, "batch_size": 2, "count_min": 1, "level": "character"}
    return TaggerConfig.model_validate({"data": [path], "validation": [path], "seed": 0, **sizes, **more})
