from __future__ import annotations

import gc
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from seqserve.server.errors import BrokenServableError, InputTooLongError, InvalidFieldError, OutOfVocabularyError
from seqserve.server.model.manifest import read_manifest
from seqserve.server.text.tokenization import Tokenization, check_length, word_bytes
from seqserve.training.config import LanguageModelConfig
from seqserve.training.data.sequences import spelling
from seqserve.training.tokenizers.sequences import character_tokenizer, text_ids, word_id, word_spans, word_tokenizer
from seqserve.training.tokenizers.text import text_tokenizer
from seqserve.v1 import manifest_pb2 as pb
from tests.conftest import MadeRepository
from tests.servables import ALPHABET, WORDS

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
WORDS_OF_ALL_KINDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def characters(made: MadeRepository) -> Tokenization:
    """Single characters, no unknown token."""
    return Tokenization(read_manifest(made.lstm.folder), made.lstm.folder)


@pytest.fixture(scope="module")
def words(made: MadeRepository) -> Tokenization:
    """Words with an unknown token and byte features."""
    return Tokenization(read_manifest(made.tagger.folder), made.tagger.folder)


def tokenization(folder: Path, tokenizer: Any, vocabulary: pb.Vocabulary, *roles: pb.TensorRole) -> Tokenization:
    """Of a tokenizer that no servable here has."""
    tokenizer.save(str(folder / "tokenizer.json"))
    inputs = [pb.TensorSpec(name=pb.TensorRole.Name(role), role=role) for role in roles]
    return Tokenization(pb.Manifest(vocabulary=vocabulary, inputs=inputs), folder)


def test_a_character_outside_the_vocabulary_is_named_with_its_offset(characters: Tokenization) -> None:
    with pytest.raises(OutOfVocabularyError) as caught:
        characters.encode_ids("国 dogs\tat 7", "text")
    assert str(caught.value) == (
        "character '\\t' (U+0009) at offset 6 of text is not in the model's vocabulary, "
        "and the model has no unknown token"
    )
    assert caught.value.field == "text"
    assert caught.value.metadata == {"character": "\t", "offset": "6"}


def test_a_character_is_looked_for_as_the_model_reads_it(tmp_path: Path) -> None:
    tokenizer = character_tokenizer("ab")
    tokenizer.normalizer = normalizers.Lowercase()
    taken = tokenization(tmp_path, tokenizer, pb.Vocabulary(size=2, level=pb.TOKEN_LEVEL_CHARACTER))
    assert taken.encode_ids("aB", "text") == [0, 1]
    with pytest.raises(OutOfVocabularyError, match=r"character .C. .* at offset 2"):
        taken.encode_ids("aBCa", "text")


@given(text=TEXTS)
def test_bytes_are_numbered_as_the_tokenizer_does(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    config = LanguageModelConfig.model_validate({"data": ["a"], "level": "byte", "start_token": True})
    tokenizer = text_tokenizer(config, [])
    vocabulary = pb.Vocabulary(size=257, level=pb.TOKEN_LEVEL_BYTE)
    taken = tokenization(tmp_path_factory.mktemp("bytes"), tokenizer, vocabulary)
    assert taken.encode_ids(text, "text") == tokenizer.encode(text).ids == list(text.encode())


def test_with_an_unknown_token_every_character_is_taken(tmp_path: Path) -> None:
    tokenizer = character_tokenizer(ALPHABET, unknown_token=True)
    taken = tokenization(tmp_path, tokenizer, pb.Vocabulary(size=len(ALPHABET) + 1, unknown_token=0))
    ids = taken.encode_ids("a7b", "text")
    assert [ids[0], ids[2]] == [tokenizer.token_to_id("a"), tokenizer.token_to_id("b")]
    assert ids[1] == 0


@given(text=st.text(ALPHABET))
def test_a_text_has_the_ids_that_it_had_in_training(made: MadeRepository, characters: Tokenization, text: str) -> None:
    assert characters.encode_ids(text, "text") == text_ids(made.lstm.tokenizer, text).tolist()


def test_an_id_outside_the_vocabulary_is_named_with_its_place(characters: Tokenization) -> None:
    size = len(ALPHABET)
    characters.check_ids([0, size - 1], "token_ids.ids")
    for wrong in (size, -1):
        with pytest.raises(InvalidFieldError) as caught:
            characters.check_ids([0, wrong], "token_ids.ids")
        assert str(caught.value) == f"token_ids.ids[1] is {wrong}; the vocabulary has ids 0 to {size - 1}"


def test_the_callers_words_are_kept_as_they_are(words: Tokenization) -> None:
    taken = words.tokenize_words(["The", "cat's", "国 x"], "words")
    assert [token.text for token in taken.tokens] == ["The", "cat's", "国 x"]
    joined = "The cat's 国 x"
    assert [joined[token.start : token.end] for token in taken.tokens] == ["The", "cat's", "国 x"]


def test_an_empty_word_is_named(words: Tokenization) -> None:
    with pytest.raises(InvalidFieldError, match=r"words\.words\[1\] is an empty word"):
        words.tokenize_words(["a", "", "b"], "words.words")


def test_a_word_outside_the_vocabulary_is_named_where_there_is_no_unknown_token(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(WORDS, size_max=100, count_min=1, lowercase=True)
    vocabulary = pb.Vocabulary(size=tokenizer.get_vocab_size(), level=pb.TOKEN_LEVEL_WORD)
    taken = tokenization(tmp_path, tokenizer, vocabulary, pb.TENSOR_ROLE_TOKENS)
    with pytest.raises(
        OutOfVocabularyError, match="word 'zebra' at offset 4 of words is not in the model's vocabulary"
    ):
        taken.tokenize_words(["cat", "zebra"], "words")
    with pytest.raises(OutOfVocabularyError, match="word 'zebra' at offset 4 of text is not in the model's vocabulary"):
        taken.tokenize_text("cat zebra", "text")


@given(text=TEXTS)
def test_tokens_of_a_text_stand_where_their_offsets_say(words: Tokenization, text: str) -> None:
    taken = words.tokenize_text(text, "text")
    end = 0
    for token in taken.tokens:
        assert end <= token.start < token.end
        assert token.text == text[token.start : token.end]
        end = token.end
    assert len(taken.inputs) == len(taken.tokens)


@given(text=TEXTS)
def test_a_text_is_cut_into_the_words_of_training(made: MadeRepository, words: Tokenization, text: str) -> None:
    spans = word_spans(made.tagger.tokenizer, text)
    assert [(token.start, token.end) for token in words.tokenize_text(text, "text").tokens] == spans


@given(listed=st.lists(st.sampled_from(WORDS) | WORDS_OF_ALL_KINDS, min_size=1, max_size=6))
def test_words_are_the_inputs_that_they_were_in_training(
    made: MadeRepository, words: Tokenization, listed: list[str]
) -> None:
    arrays = words.tokenize_words(listed, "words").inputs.arrays
    tokenizer, longest = made.tagger.tokenizer, words.vocabulary.word_bytes_max
    assert arrays[pb.TENSOR_ROLE_TOKENS].tolist() == [word_id(tokenizer, word) for word in listed]
    letters, lengths = arrays[pb.TENSOR_ROLE_WORD_BYTES], arrays[pb.TENSOR_ROLE_WORD_LENGTHS]
    for word, row, length in zip(listed, letters, lengths, strict=True):
        assert bytes((row[:length] - 1).astype(np.uint8)) == spelling(word, longest)
        assert not row[length:].any()


def test_a_text_gives_the_same_inputs_as_its_words(words: Tokenization) -> None:
    text = "The  naïve cat, 国!"
    cut = words.tokenize_text(text, "text")
    given_words = words.tokenize_words([token.text for token in cut.tokens], "words")
    for role, array in cut.inputs.arrays.items():
        np.testing.assert_array_equal(array, given_words.inputs.arrays[role])


def test_ids_alone_are_refused_where_the_model_reads_letters(words: Tokenization, characters: Tokenization) -> None:
    with pytest.raises(InvalidFieldError, match="this model reads the letters of its words: send text or words"):
        words.tokenize_ids([1], "token_ids.ids")
    assert characters.tokenize_ids([1, 2], "token_ids.ids").tokens == []


@given(listed=st.lists(WORDS_OF_ALL_KINDS, max_size=5), longest=st.integers(2, 12))
def test_word_bytes_are_the_first_and_the_last_half_of_a_long_word(listed: list[str], longest: int) -> None:
    letters, lengths = word_bytes(listed, longest)
    assert letters.dtype == lengths.dtype == np.int32
    assert letters.shape == (len(listed), max(1, max(lengths, default=1)))
    for word, row, length in zip(listed, letters, lengths, strict=True):
        data = list(word.encode())
        if len(data) > longest:
            half = longest // 2
            data = data[: longest - half] + data[-half:]
        assert length == len(data)
        assert row.tolist() == [byte + 1 for byte in data] + [0] * (len(row) - length)


def test_a_tokenizer_that_is_broken_or_of_another_size_is_refused(tmp_path: Path) -> None:
    tokenizer = character_tokenizer(ALPHABET)
    with pytest.raises(BrokenServableError, match=r"tokenizer\.json has 35 tokens, the manifest says 7"):
        tokenization(tmp_path, tokenizer, pb.Vocabulary(size=7))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(BrokenServableError, match=r"tokenizer\.json is not a tokenizer: "):
        Tokenization(pb.Manifest(vocabulary=pb.Vocabulary(size=7)), tmp_path)


def test_an_input_over_the_limit_tells_both_numbers() -> None:
    check_length(4, 4, "tokens", "prompt")
    check_length(10**6, 0, "tokens", "prompt")  # 0: no limit
    with pytest.raises(InputTooLongError) as caught:
        check_length(5, 4, "tokens", "prompt")
    assert str(caught.value) == "prompt has 5 tokens, the model takes at most 4; cut it into several requests"
    assert caught.value.metadata == {"count": "5", "limit": "4"}


@given(text=st.text(ALPHABET + "XYZ", max_size=20))
def test_characters_are_looked_up_as_the_library_would(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    tokenizer = character_tokenizer(ALPHABET, unknown_token=True)
    vocabulary = pb.Vocabulary(level=pb.TOKEN_LEVEL_CHARACTER, size=len(ALPHABET) + 1, unknown_token=0)
    taken = tokenization(tmp_path_factory.mktemp("tokenizer"), tokenizer, vocabulary)
    assert taken.encode_ids(text, "text") == tokenizer.encode(text).ids


def test_others_go_on_while_a_long_text_is_cut(words: Tokenization) -> None:
    """Counted in the processor's time of this process, which stands still while other processes have the processor."""
    done, pauses_s = threading.Event(), [0.0]

    def look() -> None:
        last_s = time.process_time()
        while not done.is_set():
            last_s, before_s = time.process_time(), last_s
            pauses_s.append(last_s - before_s)

    other = threading.Thread(target=look)
    gc.disable()  # a collection of all that the tests before have left holds the interpreter, too
    try:
        other.start()
        begun_s = time.process_time()
        tokens = words.tokenize_text("the cat sat on a mat. " * 3000, "text").tokens
        took_s = time.process_time() - begun_s
        done.set()
        other.join()
    finally:
        gc.enable()
    assert len(tokens) == 21_000
    assert max(pauses_s) < took_s / 2, "nobody else had the interpreter"


@pytest.mark.parametrize("text", ["the cat " * 3000, " ." * 6000, "c" * 5000 + " a" * 5000])
def test_a_text_far_over_the_limit_is_refused_before_it_is_cut(words: Tokenization, text: str) -> None:
    for cut in (words.tokenize_text, words.encode_ids):
        with pytest.raises(InputTooLongError, match=r"^text has [0-9]+ tokens or more, the model takes at most 1000;"):
            cut(text, "text", tokens_max=1000)


@pytest.mark.parametrize(
    "text",
    [
        "the cat " * 3000,
        "a" * 4095 + "é" * 4097 + " cat",
        " ." * 6000,
        "see http://x.yz/" + "a.b," * 900 + " http://x.yz/1,2" * 900,
    ],
)
def test_counting_first_refuses_nothing_that_fits(words: Tokenization, text: str) -> None:
    tokens = words.tokenize_text(text, "text").tokens
    assert words.tokenize_text(text, "text", len(tokens)).tokens == tokens


def test_added_tokens_are_found_in_texts_of_characters(tmp_path: Path) -> None:
    tokenizer = character_tokenizer("ab<s>")
    tokenizer.add_special_tokens(["<s>"])
    vocabulary = pb.Vocabulary(level=pb.TOKEN_LEVEL_CHARACTER, size=tokenizer.get_vocab_size())
    taken = tokenization(tmp_path, tokenizer, vocabulary)
    added = tokenizer.token_to_id("<s>")
    assert taken.encode_ids("a<s>b<", "text") == [
        *(tokenizer.token_to_id(c) for c in "a"),
        added,
        *tokenizer.encode("b<").ids,
    ]
