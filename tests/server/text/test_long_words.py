"""Runs of thousands of characters without white space: tokenized in time, by every way that text takes."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest

from seqserve.server.errors import InvalidFieldError
from seqserve.server.model.manifest import read_manifest
from seqserve.server.text.incremental_tokenizer import IncrementalTokenizer
from seqserve.server.text.tokenization import Tokenization

POS = Path(__file__).parents[3] / "models" / "english-pos" / "1"
HYPHENS = "a-" * 600  # whole, it took seconds; of 6,000 characters 80
TOKEN = "".join(random.Random(1).choices(string.ascii_letters + string.digits + "-_", k=2048))  # whole, it panicked


@pytest.fixture(scope="module")
def words() -> Tokenization:
    return Tokenization(read_manifest(POS), POS)


@pytest.mark.parametrize("run", [HYPHENS, TOKEN])
def test_long_runs_are_tokenized_with_their_offsets(words: Tokenization, run: str) -> None:
    text = f"See {run} there."
    tokens = words.tokenize_text(text, "text").tokens
    assert [tokens[0].text, *(token.text for token in tokens[-2:])] == ["See", "there", "."]
    assert all(text[token.start : token.end] == token.text for token in tokens)
    assert "".join(token.text for token in tokens) == text.replace(" ", "")


def test_short_runs_are_whole(words: Tokenization) -> None:
    address = "http://example.org/" + "path/" * 40
    assert [token.text for token in words.tokenize_text(f"{address} .", "text").tokens] == [
        token.text for token in words.tokenize_text(address, "text").tokens
    ] + ["."]


def test_streams_know_what_takes_long(words: Tokenization) -> None:
    stream = IncrementalTokenizer(words)
    assert not stream.takes_long("The cat sat on the mat. " * 100)
    assert stream.takes_long(HYPHENS)
    for _ in range(50):
        assert list(stream.text("a-")) == []
    assert stream.takes_long(""), "what is held is long"


def test_a_panic_of_the_library_is_an_error_of_the_field(words: Tokenization, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    class Panicking:
        def encode(self, text: str, **options: bool) -> None:
            del text, options
            raise PanicException("retry-limit-in-match over")

    monkeypatch.setattr(words, "tokenizer", Panicking())
    with pytest.raises(InvalidFieldError, match="tokenizer failed on text: retry-limit"):
        words.tokenize_text("The cat.", "text")
