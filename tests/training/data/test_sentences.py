import numpy as np
import pytest

from seqserve.training.data.conllu import Sentence
from seqserve.training.data.sentences import UNSEEN_LABEL, TagData, tag_data
from seqserve.training.data.sequences import batch_of, batches, memberships, spelling
from seqserve.training.data.share import Share
from seqserve.training.tokenizers.sequences import word_tokenizer

SENTENCES = [
    Sentence(("The", "cat", "sat"), ("DET", "NOUN", "VERB"), ""),
    Sentence(("Sit",), ("VERB",), ""),
    Sentence(("the", "the"), ("DET", "X"), ""),
]


@pytest.fixture
def data() -> TagData:
    words = [word for sentence in SENTENCES for word in sentence.words]
    tokenizer = word_tokenizer(words, size_max=10, count_min=2, lowercase=True)
    return tag_data(SENTENCES, tokenizer, ("DET", "NOUN", "VERB"), word_bytes_max=8)


def test_a_batch_holds_what_the_sentences_say(data: TagData) -> None:
    (batch,) = batches(data, size=3)
    assert batch.lengths.tolist() == [1, 2, 3]  # in order of length
    assert data.label_rows(batch).T.tolist() == [[2, -1, -1], [0, UNSEEN_LABEL, -1], [0, 1, 2]]
    assert batch.tokens.T.tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 0]]  # "the" is known, in either case

    def spelled(step: int, row: int) -> bytes:
        place = batch.words[step, row]
        return bytes((batch.bytes[place, : batch.byte_lengths[place]] - 1).tolist())

    assert [spelled(step, 2) for step in range(3)] == [b"The", b"cat", b"sat"]
    assert spelled(1, 1) == b"the"
    assert len(batch.bytes) == 5  # each spelling once


def test_every_sentence_is_in_one_batch_whatever_the_order(data: TagData) -> None:
    for generator in (None, np.random.default_rng(1)):
        plan = memberships(data, size=2, generator=generator)
        lengths = [int(length) for members in plan for length in batch_of(data, members).lengths]
        assert sorted(lengths) == [1, 2, 3]


@pytest.mark.parametrize(
    ("word", "bytes_max", "seen"),
    [
        ("short", 8, b"short"),
        ("eightchr", 8, b"eightchr"),
        ("a-long-word", 8, b"a-loword"),
        ("a-long-word", 5, b"a-lrd"),
        ("ü", 8, "ü".encode()),
    ],
)
def test_a_long_word_is_seen_by_its_two_halves(word: str, bytes_max: int, seen: bytes) -> None:
    assert spelling(word, bytes_max) == seen


def test_shares_of_two_processes_make_up_the_batches_of_one(data: TagData) -> None:
    def plan(share: Share) -> list[list[int]]:
        return list(memberships(data, size=2, generator=np.random.default_rng(1), share=share))

    whole, halves = plan(Share()), (plan(Share(0, 2)), plan(Share(1, 2)))
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(members) for members in whole]
    assert [] in halves[1]  # of the last batch, which has one sentence
