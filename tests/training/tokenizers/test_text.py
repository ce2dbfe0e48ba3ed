"""Tokenizers of running text: decoding returns the text, and no text becomes a special token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from seqserve.training.config import LanguageModelConfig
from seqserve.training.config.language_model import TextLevel
from seqserve.training.tokenizers.text import END, START, TextEncoder, text_tokenizer, unknown_text_id

SAMPLE = ["the cat sat on the mat.\n<s> </s> <s> It's a naïve cat,", " isn't it? 国家 is 2026\t\n"]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


def made(level: TextLevel, **settings: object) -> Tokenizer:
    config = LanguageModelConfig.model_validate({"data": ["a"], "level": level, "vocabulary_max": 300, **settings})
    return Tokenizer.from_str(text_tokenizer(config, SAMPLE).to_str())  # as the file has it


@pytest.mark.parametrize("level", list(TextLevel))
def test_the_text_it_was_made_of_comes_back(level: TextLevel) -> None:
    tokenizer = made(level)
    assert tokenizer.decode(tokenizer.encode("".join(SAMPLE)).ids) == "".join(SAMPLE)


@pytest.mark.parametrize("level", [TextLevel.BYTE, TextLevel.BPE])
@given(text=TEXTS)
def test_bytes_and_their_pairs_take_any_text(level: TextLevel, text: str) -> None:
    tokenizer = made(level)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@given(text=TEXTS)
def test_ids_of_bytes_are_their_values(text: str) -> None:
    assert made(TextLevel.BYTE).encode(text).ids == list(text.encode())


def test_a_vocabulary_is_as_large_as_was_asked_for_or_the_text_gives() -> None:
    assert made(TextLevel.BYTE, start_token=True).get_vocab_size() == 257
    assert made(TextLevel.BPE, start_token=True, end_token=True, vocabulary_max=270).get_vocab_size() == 270
    assert made(TextLevel.WORD, vocabulary_max=5).get_vocab_size() == 5


@pytest.mark.parametrize("level", list(TextLevel))
@given(text=TEXTS | st.text("<s>/ ", max_size=12))
def test_no_text_becomes_a_special_token(level: TextLevel, text: str) -> None:
    tokenizer = made(level, start_token=True, end_token=True, unknown_token=True)
    special = {tokenizer.token_to_id(START), tokenizer.token_to_id(END)}
    assert None not in special
    assert not special & set(tokenizer.encode(text).ids)


@pytest.mark.parametrize("level", list(TextLevel))
@given(text=TEXTS)
def test_training_numbers_text_as_the_file_does(level: TextLevel, text: str) -> None:
    tokenizer = made(level, unknown_token=True)
    encoder = TextEncoder(tokenizer, level)
    encoding = tokenizer.encode(text)
    assert encoder.encode(text).tolist() == encoding.ids
    if text and level not in (TextLevel.BYTE, TextLevel.BPE):
        assert encoder.first_characters(text) == encoding.offsets[0][1]


def test_words_have_their_space_with_them_and_the_unknown_one_too() -> None:
    tokenizer = made(TextLevel.WORD)
    encoding = tokenizer.encode("the dog sat, isn't it?\n")
    assert encoding.tokens == ["the", " <unk>", " sat", ",", " isn't", " it", "?", "\n"]
    assert unknown_text_id(tokenizer) == 0
    assert tokenizer.decode(encoding.ids) == "the <unk> sat, isn't it?\n"
    assert tokenizer.encode("the <unk> cat").ids.count(0) == 1  # as prepared texts write it


def test_rare_words_are_unknown_where_it_is_asked_for() -> None:
    assert set(made(TextLevel.WORD, count_min=2).get_vocab()) == {" <unk>", " <", "s", ">", " cat", "\n"}


@given(text=TEXTS)
def test_normalised_text_stays_as_it_is(text: str) -> None:
    normalizer = made(TextLevel.CHARACTER, lowercase=True, letters_only=True).normalizer
    once = normalizer.normalize_str(text)
    assert normalizer.normalize_str(once) == once


def test_what_a_file_says_is_done_to_a_text_before_it_is_cut() -> None:
    tokenizer = made(TextLevel.WORD, lowercase=True, letters_only=True)
    assert tokenizer.encode("The CAT -- sat!").ids == tokenizer.encode("the cat sat ").ids
