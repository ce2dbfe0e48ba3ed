from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from seqserve.training.data.conllu import read_conllu
from seqserve.training.tokenizers.sequences import (
    UNKNOWN,
    character_tokenizer,
    text_ids,
    unknown_id,
    word_id,
    word_spans,
    word_tokenizer,
)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=50)


@given(TEXTS.filter(bool))
def test_text_survives_the_way_through_character_ids_and_a_file(text: str) -> None:
    tokenizer = Tokenizer.from_str(character_tokenizer(text).to_str())
    ids = text_ids(tokenizer, text)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids.tolist(), skip_special_tokens=False) == text


def test_a_character_tokenizer_has_no_token_that_was_not_asked_for() -> None:
    tokenizer = character_tokenizer("ba\n")
    assert tokenizer.get_vocab() == {"\n": 0, "a": 1, "b": 2}
    with pytest.raises(ValueError, match="no unknown token"):
        unknown_id(tokenizer)


def test_with_an_unknown_token_nothing_is_refused() -> None:
    tokenizer = character_tokenizer("ab", unknown_token=True)
    assert text_ids(tokenizer, "a?b").tolist() == [1, unknown_id(tokenizer), 2]


def test_words_are_ranked_by_their_normalised_frequency() -> None:
    words = ["The", "the", "1999", "2001", "a", "rare"]
    tokenizer = word_tokenizer(words, size_max=3, count_min=2, lowercase=True)
    assert tokenizer.get_vocab() == {UNKNOWN: 0, "0000": 1, "the": 2}
    assert [word_id(tokenizer, word) for word in ("THE", "1984", "rare")] == [2, 1, 0]


def test_case_counts_where_it_is_asked_to() -> None:
    tokenizer = word_tokenizer(["The", "the", "the"], size_max=9, count_min=1, lowercase=False)
    assert word_id(tokenizer, "The") != word_id(tokenizer, "the")


@given(TEXTS)
def test_spans_are_in_order_and_leave_out_nothing_but_white_space(text: str) -> None:
    tokenizer = word_tokenizer(["a"], size_max=2, count_min=1, lowercase=False)
    end_before = 0
    for start, end in word_spans(tokenizer, text):
        assert not text[end_before:start].strip()
        assert start < end
        end_before = end
    assert not text[end_before:].strip()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, it's Bob's.", "Do n't stop , it 's Bob 's ."),
        ("I CAN'T and cannot", "I CA N'T and can not"),
        ("We\u2019ve seen what\u2019s there", "We \u2019ve seen what \u2019s there"),
        ("See http://a.org/b?c=1, or mail me@a.org.", "See http://a.org/b?c=1 , or mail me@a.org ."),
        ("At 10:30 it cost $1,234.50 (or 5%).", "At 10:30 it cost $ 1,234.50 ( or 5 % ) ."),
        ("Mr. Al-Zaman of the U.S. said...", "Mr. Al - Zaman of the U.S. said ..."),
        ("the İzmir house", "the İzmir house"),
        ("", ""),
    ],
)
def test_raw_text_is_cut_as_the_treebank_does(text: str, words: str) -> None:
    tokenizer = word_tokenizer(["a"], size_max=2, count_min=1, lowercase=True)
    assert " ".join(text[start:end] for start, end in word_spans(tokenizer, text)) == words


def test_the_cutting_of_ewt_dev_is_near_to_gold(data_dir: Path) -> None:
    tokenizer = word_tokenizer(["a"], size_max=2, count_min=1, lowercase=True)
    right = found = expected = 0
    for sentence in read_conllu(data_dir / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz"):
        gold, place = set[tuple[int, int]](), 0
        for word in sentence.words:
            start = sentence.text.index(word, place)
            place = start + len(word)
            gold.add((start, place))
        cut = set(word_spans(tokenizer, sentence.text))
        right, found, expected = right + len(gold & cut), found + len(cut), expected + len(gold)
    assert 2 * right / (found + expected) > 0.985
