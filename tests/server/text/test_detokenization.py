from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from seqserve.server.errors import BrokenServableError
from seqserve.server.text.detokenization import IncrementalDetokenizer, token_bytes
from seqserve.training.tokenizers.sequences import character_tokenizer, word_tokenizer

BYTES = [bytes([value]) for value in range(256)]
"""A table in which every token is one byte, so that characters are cut anywhere."""

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


def byte_level_tokenizer(text: str) -> Tokenizer:
    """Byte-pair encoding over bytes, as GPT-2 has it, with some merges learned from a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    return tokenizer


def cuts(text: str) -> st.SearchStrategy[list[bytes]]:
    """All ways to cut a text's bytes into tokens."""
    data = text.encode()
    places = st.sets(st.integers(1, max(1, len(data) - 1)))
    return places.map(lambda at: [data[a:b] for a, b in zip([0, *sorted(at)], [*sorted(at), len(data)], strict=True)])


def test_tokens_of_characters_are_their_characters() -> None:
    tokenizer = character_tokenizer("ab\n国😀", unknown_token=True)
    ids = tokenizer.encode("国a\n😀b").ids
    table = token_bytes(tokenizer)
    assert b"".join(table[token] for token in ids).decode() == "国a\n😀b"
    assert table[0] == b"<unk>"


def test_tokens_of_words_are_joined_by_spaces() -> None:
    tokenizer = word_tokenizer(["cat", "sat"], size_max=10, count_min=1, lowercase=True)
    table = token_bytes(tokenizer)
    assert b"".join(table[tokenizer.encode(word).ids[0]] for word in ("cat", "sat")) == b"cat sat "


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    return byte_level_tokenizer("the cat sat on the mat, naïve 国国 " * 3)


@given(text=TEXTS)
def test_tokens_of_a_byte_level_tokenizer_give_the_text_back(byte_level: Tokenizer, text: str) -> None:
    table = token_bytes(byte_level)
    assert b"".join(table[token] for token in byte_level.encode(text).ids) == text.encode()


def test_a_decoder_that_is_not_known_is_refused() -> None:
    tokenizer = character_tokenizer("ab")
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(BrokenServableError, match="decoder 'WordPiece' is not known"):
        token_bytes(tokenizer)


@given(text=TEXTS, data=st.data())
def test_however_tokens_gather_the_text_is_the_same_and_each_piece_whole(text: str, data: st.DataObject) -> None:
    tokens = list(text.encode())
    at = sorted(data.draw(st.sets(st.integers(0, len(tokens)))))
    assembler = IncrementalDetokenizer(BYTES)
    pieces = [assembler.push(tokens[a:b]) for a, b in zip([0, *at], [*at, len(tokens)], strict=True)]
    pieces.append(assembler.finish())
    assert "".join(pieces) == text
    assert "�" not in "".join(pieces) or "�" in text


@given(text=TEXTS, data=st.data())
def test_bytes_are_held_back_as_long_as_asked(text: str, data: st.DataObject) -> None:
    assembler, reported, released = IncrementalDetokenizer(BYTES), "", 0
    encoded = text.encode()
    for count in range(1, len(encoded) + 1):
        held = data.draw(st.integers(0, count - released))
        released = count - held
        reported += assembler.push([encoded[count - 1]], held)
        assert reported == encoded[:released].decode("utf-8", "ignore")
    dropped = data.draw(st.integers(0, len(encoded) - released))
    end = assembler.finish(dropped)
    assert (
        (reported + end)
        .encode("utf-8")
        .startswith(encoded[: len(encoded) - dropped].decode("utf-8", "ignore").encode())
    )


def test_what_ends_inside_a_character_ends_with_the_replacement_character() -> None:
    assembler = IncrementalDetokenizer(BYTES)
    assert assembler.push(list("é".encode()[:1])) == ""
    assert assembler.finish() == "�"
