"""The expression for words takes linear time, never fails, and cuts text as its quadratic predecessor did."""

import random
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from seqserve.training.data.conllu import read_conllu
from seqserve.training.tokenizers.words import WORD_PATTERN

from .quadratic_words import WORD_PATTERN as QUADRATIC_PATTERN

WORDS = pre_tokenizers.Split(Regex(WORD_PATTERN), "removed", invert=True)
QUADRATIC_WORDS = pre_tokenizers.Split(Regex(QUADRATIC_PATTERN), "removed", invert=True)
PIECES = [
    "a",
    "b",
    "foo",
    "can't",
    "don't",
    "didn't",
    "cannot",
    "gonna",
    "i'm",
    "it's",
    "bob's",
    "1.5",
    "12:30",
    "3/4/2001",
    "10,000",
    "5km",
    "7pm",
    "555-1234",
    "555-555-1234",
    "file.pdf",
    "report-2.5.pdf",
    "www.x.com",
    "http://a.b/c?d=e",
    "joe@x.com",
    "a.b+c@x-y.co.uk",
    ":)",
    ":-d",
    ";-p",
    "8)",
    "<3",
    "...",
    "--",
    "==",
    "__",
    "''",
    "``",
    "!!",
    "?!",
    "u.s.",
    "mr.",
    "dr.",
    "no.",
    "x.",
    "e-mail",
    "w/o",
    "w/",
    "non-profit",
    "/",
    "-",
    ".",
    ",",
    ":",
    ";",
    "'",
    "(",
    ")",
    "[",
    "]",
    "&",
    "_",
    "+",
    "#",
    "*",
    "~",
    "x.com/y",
    "z.html",
    "ünï",
    "漢",
]
TEXTS = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(["", " ", " ", " ", "-"])), max_size=6)
LENGTH = 4096


@given(TEXTS)
def test_text_of_ordinary_pieces_is_cut_as_before(parts: list[tuple[str, str]]) -> None:
    text = "".join(piece + space for piece, space in parts)
    assert WORDS.pre_tokenize_str(text) == QUADRATIC_WORDS.pre_tokenize_str(text)


def test_sentences_of_a_treebank_are_cut_as_before(data_dir: Path) -> None:
    for sentence in read_conllu(data_dir / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz")[:400]:
        text = sentence.text.lower()
        assert WORDS.pre_tokenize_str(text) == QUADRATIC_WORDS.pre_tokenize_str(text)


def base64url(length: int) -> str:
    draw = random.Random(1)
    return "".join(draw.choice(string.ascii_lowercase + string.digits + "-_") for _ in range(length))


@pytest.mark.parametrize(
    "text",
    [
        base64url(LENGTH),
        *(
            (unit * LENGTH)[:LENGTH]
            for unit in ("a-", "a.", "a@", "0/", "0-", ":d", "'t", "n't", "1.5-", "www.,,", "mr.", "_", "x.com/", "/")
        ),
        "a-" * LENGTH + "@" + "a-" * LENGTH,
        "n" * LENGTH + "'t",
        "x.com/" + "/" * LENGTH,
        ":" + "d" * LENGTH + "x",
    ],
    ids=lambda text: text[:12],
)
def test_long_tokens_are_cut_without_a_panic(text: str) -> None:
    """The quadratic expression raised PanicException for 2,048 characters of base64url."""
    words = WORDS.pre_tokenize_str(text)
    assert "".join(word for word, _ in words) == text
