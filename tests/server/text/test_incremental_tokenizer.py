"""Text that comes in pieces: the tokens are those of the whole, whatever the cuts."""

from __future__ import annotations

import functools
import itertools
import tempfile
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqserve.server.errors import InvalidFieldError, OutOfVocabularyError
from seqserve.server.model.inputs import Inputs, concatenate
from seqserve.server.model.manifest import read_manifest
from seqserve.server.text.incremental_tokenizer import HELD_MAX, IncrementalTokenizer, TokenChunk
from seqserve.server.text.sentences import SentenceRule
from seqserve.server.text.tokenization import Token, Tokenization
from seqserve.training.config import LanguageModelConfig
from seqserve.training.tokenizers.sequences import character_tokenizer, word_tokenizer
from seqserve.training.tokenizers.text import text_tokenizer
from seqserve.v1 import manifest_pb2 as pb

POS = Path(__file__).parents[3] / "models" / "english-pos" / "1"
SAMPLE = "The cat didn't sit, it's 3.14 o'clock. 国家。 A dog\n  and na\u00efve\tpeople! "
PARTS = [
    *("The", "cat", "don't", "it\u2019s", "cannot", "U.S.", "no.", "5", "3.14", "Mr.", "b.", "e.g.", "gonna", "IT'S"),
    *("http://x.yz/a.b,", "me@x.org", "...", "?!", ".", "!", '"', ")", ",", "-", "--", ":-)", "(555) 123-4567", "7pm"),
    *("国家", "。", "！", "”", "é", "e\u0301", "👩\u200d👩\u200d👧", "İ", "ß", "Σ", "ς", "\u200b"),  # noqa: RUF001
    *(" ", "  ", "\n", "\r\n", "\r", "\t", "\xa0", "\x1c", "\x85", "\u3000", "\n\n"),
]
TEXTS = st.lists(st.sampled_from(PARTS) | st.text(st.characters(codec="utf-8"), max_size=3), max_size=25).map("".join)
CUTS = st.lists(st.floats(0, 1), max_size=8)

LEVELS = {
    "character": pb.TOKEN_LEVEL_CHARACTER,
    "byte": pb.TOKEN_LEVEL_BYTE,
    "word": pb.TOKEN_LEVEL_WORD,
    "subword": pb.TOKEN_LEVEL_SUBWORD,
}


@functools.cache
def tokenization(kind: str) -> Tokenization:
    """Of a kind of servable: a tagger of words or characters, or a language model of some level and normalisation."""
    if kind == "english-pos":
        return Tokenization(read_manifest(POS), POS)
    level, _, letters = kind.partition(" ")
    tokenizer: Any
    if level == "words of a tagger":
        tokenizer = word_tokenizer(SAMPLE.split(), size_max=20, count_min=1, lowercase=True)
    elif level == "tagger":
        tokenizer = character_tokenizer(SAMPLE, unknown_token=True)
    else:
        unknown = {"unknown_token": True} if level == "character" else {}
        sizes = {"vocabulary_max": 300} if level == "subword" else {}
        made = {"data": ["a"], "level": "bpe" if level == "subword" else level, **unknown, **sizes}
        if letters:
            made |= {"lowercase": True, "letters_only": True}
        tokenizer = text_tokenizer(LanguageModelConfig.model_validate(made), [SAMPLE] * 3)
    vocabulary = pb.Vocabulary(size=tokenizer.get_vocab_size(), level=LEVELS.get(level, pb.TOKEN_LEVEL_CHARACTER))
    if level in ("character", "tagger", "word"):
        vocabulary.unknown_token = 0
    return _saved(tokenizer, vocabulary)


def _saved(tokenizer: Any, vocabulary: pb.Vocabulary) -> Tokenization:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(f"{folder}/tokenizer.json")
        return Tokenization(pb.Manifest(vocabulary=vocabulary), Path(folder))


KINDS = (
    "english-pos",
    "tagger",
    *(f"{level}{letters}" for level in LEVELS for letters in ("", " of letters only")),
)


@dataclass
class Whole:
    """What a stream came to: its tokens, inputs, and after how many tokens sentences ended."""

    tokens: list[Token] = field(default_factory=list[Token])
    inputs: list[Inputs] = field(default_factory=list[Inputs], compare=False)
    ends: list[int] = field(default_factory=list[int])

    def take(self, cuts: Iterable[TokenChunk]) -> Whole:
        for cut in cuts:
            assert len(cut.tokens) == len(cut.inputs)
            assert cut.tokens or cut.ends_sentence
            self.tokens += cut.tokens
            self.inputs += [cut.inputs] * bool(cut.tokens)
            if cut.ends_sentence:
                self.ends.append(len(self.tokens))
        return self

    def equals_inputs(self, other: Inputs) -> bool:
        found = concatenate(self.inputs) if self.inputs else other.cut(0, 0)
        return all(np.array_equal(found.arrays[role], other.arrays[role]) for role in other.arrays)


def pieces(text: str, cuts: list[float]) -> Iterator[str]:
    places = sorted({0, len(text), *(round(cut * len(text)) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        yield text[start:end]


def fed(feed: IncrementalTokenizer, text: str, cuts: list[float]) -> Whole:
    whole = Whole()
    for piece in pieces(text, cuts):
        whole.take(feed.text(piece))
    return whole.take(feed.flush())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(text=TEXTS, cuts=CUTS)
def test_tokens_are_those_of_the_whole_whatever_the_cuts(kind: str, text: str, cuts: list[float]) -> None:
    whole = tokenization(kind).tokenize_text(text, "text")
    found = fed(IncrementalTokenizer(tokenization(kind)), text, cuts)
    assert found.tokens == whole.tokens
    assert found.equals_inputs(whole.inputs)
    assert found.ends == []


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(text=TEXTS)
def test_tokens_are_those_of_the_whole_character_by_character(kind: str, text: str) -> None:
    feed, found = IncrementalTokenizer(tokenization(kind)), Whole()
    for character in text:
        found.take(feed.text(character))
    assert found.take(feed.flush()).tokens == tokenization(kind).tokenize_text(text, "text").tokens


@pytest.mark.parametrize("kind", ["english-pos", "tagger"])
@given(text=TEXTS, cuts=CUTS)
def test_lines_are_sentences_whatever_the_cuts(kind: str, text: str, cuts: list[float]) -> None:
    found = fed(IncrementalTokenizer(tokenization(kind), SentenceRule.NEWLINE), text, cuts)
    expected, start = Whole(), 0
    for line in text.split("\n"):
        last = start + len(line) >= len(text)
        read = line if last else line.removesuffix("\r")
        taken = tokenization(kind).tokenize_text(read, "text", origin=start).tokens
        expected.tokens += taken
        if taken and not last:
            expected.ends.append(len(expected.tokens))
        start += len(line) + 1
    assert (found.tokens, found.ends) == (expected.tokens, expected.ends)


@pytest.mark.parametrize("kind", ["english-pos", "tagger"])
@given(text=TEXTS, cuts=CUTS)
def test_sentences_by_punctuation_are_the_same_whatever_the_cuts(kind: str, text: str, cuts: list[float]) -> None:
    feed = functools.partial(IncrementalTokenizer, tokenization(kind), SentenceRule.PUNCTUATION)
    assert fed(feed(), text, cuts) == fed(feed(), text, [])


@given(text=TEXTS, cuts=CUTS)
def test_offsets_in_bytes_are_those_of_the_same_tokens(text: str, cuts: list[float]) -> None:
    data = text.encode()
    for kind in ("english-pos", "tagger", "subword"):
        characters = fed(IncrementalTokenizer(tokenization(kind)), text, cuts).tokens
        for token, other in zip(
            fed(IncrementalTokenizer(tokenization(kind), offsets_in_bytes=True), text, cuts).tokens,
            characters,
            strict=True,
        ):
            assert data[token.start : token.end].decode() == token.text == other.text
            assert token.start == len(text[: other.start].encode())


def sentences(kind: str, rule: SentenceRule, text: str) -> list[str]:
    """The text of each sentence, from its first token to its last; "|" marks that it has ended."""
    found = fed(IncrementalTokenizer(tokenization(kind), rule), text, [])
    starts = [0, *found.ends]
    ends = [*found.ends, len(found.tokens)]
    reported = [
        text[found.tokens[start].start : found.tokens[end - 1].end]
        for start, end in zip(starts, ends, strict=True)
        if end > start
    ]
    return [*(f"{sentence}|" for sentence in reported[: len(found.ends)]), *reported[len(found.ends) :]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi there. How are you? Fine!", ["Hi there.|", "How are you?|", "Fine!"]),
        ('He said "no." Then (he left!) He', ['He said "no."|', "Then (he left!)|", "He"]),
        ("It is 3.14, Mr. Smith of the U.S. went", ["It is 3.14, Mr. Smith of the U.S. went"]),
        ("Well... what?! Oh…\nYes", ["Well...|", "what?!|", "Oh…|", "Yes"]),
        ("one\n\n  two\r\nthree", ["one|", "two|", "three"]),
        ("a.b c", ["a.b c"]),
        ("I. \n\n.", ["I.|", "."]),
    ],
)
def test_punctuation_ends_sentences_of_words(text: str, expected: list[str]) -> None:
    assert sentences("english-pos", SentenceRule.PUNCTUATION, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("国。国！”国", ["国。|", "国！”|", "国"]),  # noqa: RUF001
        ("a is 3.1. b", ["a is 3.1.|", "b"]),
        ("a.\n b", ["a.|", " b"]),
    ],
)
def test_punctuation_ends_sentences_of_characters(text: str, expected: list[str]) -> None:
    assert sentences("tagger", SentenceRule.PUNCTUATION, text) == expected


def test_the_client_ends_sentences() -> None:
    feed, found = IncrementalTokenizer(tokenization("english-pos"), SentenceRule.CALLER), Whole()
    found.take(feed.sentence_end())  # none has begun
    found.take(feed.text("one. two\nthr"))
    found.take(feed.sentence_end())
    found.take(feed.sentence_end())
    found.take(feed.text("ee"))
    found.take(feed.flush())
    assert [token.text for token in found.tokens] == ["one", ".", "two", "thr", "ee"]
    assert [(token.start, token.end) for token in found.tokens][-2:] == [(9, 12), (12, 14)]
    assert found.ends == [4]


def test_a_token_comes_as_soon_as_it_is_certain() -> None:
    words, characters = IncrementalTokenizer(tokenization("english-pos")), IncrementalTokenizer(tokenization("tagger"))
    assert [len(Whole().take(words.text(piece)).tokens) for piece in ("The", " ", "cat", "\n \n", "sat")] == [
        0,
        0,
        1,
        0,
        1,
    ]
    assert [len(Whole().take(characters.text(piece)).tokens) for piece in ("T", "he ", " ")] == [1, 3, 1]


def test_words_and_ids_are_taken_as_they_are() -> None:
    feed, found = (
        IncrementalTokenizer(tokenization("english-pos"), SentenceRule.PUNCTUATION, offsets_in_bytes=True),
        Whole(),
    )
    found.take(feed.words(["naïve", "New York", "."]))
    found.take(feed.words(["”", "don't"]))
    assert found.tokens == [
        Token("naïve", 0, 6),
        Token("New York", 7, 15),
        Token(".", 16, 17),
        Token("”", 18, 21),
        Token("don't", 22, 27),
    ]
    assert found.ends == [4]
    ids = list(IncrementalTokenizer(tokenization("tagger")).token_ids([1, 2]))
    assert [cut.inputs.arrays[pb.TENSOR_ROLE_TOKENS].tolist() for cut in ids] == [[1, 2]]
    assert [cut.tokens for cut in ids] == [[]]


def test_a_stream_is_of_one_kind() -> None:
    feed = IncrementalTokenizer(tokenization("tagger"))
    list(feed.text("a"))
    with pytest.raises(InvalidFieldError, match="this stream began with text, it cannot go on with token_ids; open an"):
        list(feed.token_ids([1]))


def test_an_error_tells_where_it_is_in_the_stream() -> None:
    tokenizer = character_tokenizer("ab ")
    taken = _saved(tokenizer, pb.Vocabulary(size=3, level=pb.TOKEN_LEVEL_CHARACTER))
    feed = IncrementalTokenizer(taken, offsets_in_bytes=True)
    list(feed.text("ab a"))
    with pytest.raises(OutOfVocabularyError, match=r"character 'x' \(U\+0078\) at offset 5 of text is not in the"):
        list(feed.text("bx"))


@pytest.mark.parametrize("piece", ["x", "国", ". ", "a1"])
@pytest.mark.parametrize("kind", ["english-pos", "tagger", "subword", "word of letters only"])
def test_of_text_without_a_border_no_more_is_held_than_may_be(kind: str, piece: str) -> None:
    feed, found = IncrementalTokenizer(tokenization(kind)), Whole()
    for count in range(1, 41):
        found.take(feed.text(piece * 1000))
        reported = found.tokens[-1].end if found.tokens else 0
        assert piece == ". " or reported >= count * 1000 * len(piece) - 2 * HELD_MAX
    found.take(feed.flush())
    places = [token.start for token in found.tokens]
    assert places == sorted(places)
    if piece == "国" and kind == "subword":
        whole = tokenization(kind).tokenize_text(piece * 1000, "text").tokens
        assert len(found.tokens) == pytest.approx(40 * len(whole), rel=0.01)
    elif piece.isalnum():
        assert sum(len(token.text) for token in found.tokens) == pytest.approx(40_000 * len(piece), rel=0.001)


def test_a_long_piece_is_the_same_as_many_short_ones() -> None:
    text = "The cat didn't sit. " * 2000
    taken = tokenization("english-pos")
    assert fed(IncrementalTokenizer(taken), text, []).tokens == taken.tokenize_text(text, "text").tokens


def test_a_stream_of_any_length_takes_the_same_memory() -> None:
    feed = IncrementalTokenizer(tokenization("tagger"), SentenceRule.PUNCTUATION, offsets_in_bytes=True)

    def run(count: int) -> int:
        for _ in range(count):
            for _ in feed.text("国 is. a" * 20):
                pass
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = run(20)
        assert run(200) - before < 20_000
    finally:
        tracemalloc.stop()
