"""A tokenizer that does something else than at the export is not served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqserve.server.errors import BrokenServableError
from seqserve.server.text.probes import check_probes
from seqserve.server.text.tokenization import Tokenization
from seqserve.training.tokenizers.sequences import character_tokenizer, word_tokenizer
from seqserve.v1 import manifest_pb2 as pb


def probed(
    folder: Path, tokenizer: Any, level: pb.TokenLevel, *texts: str, unknown: int | None = None
) -> pb.Vocabulary:
    """The vocabulary of a tokenizer, with the tokens that it gives for some texts."""
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = pb.Vocabulary(level=level, size=tokenizer.get_vocab_size(), unknown_token=unknown)
    for text in texts:
        vocabulary.probes.add(text=text, token_ids=tokenizer.encode(text, add_special_tokens=False).ids)
    return vocabulary


def words(*, lowercase: bool) -> Any:
    """A tokenizer of two words: 1 is "the", 2 is "cat"."""
    return word_tokenizer(["the", "the", "cat"], size_max=9, count_min=1, lowercase=lowercase)


def opened(folder: Path, vocabulary: pb.Vocabulary) -> Tokenization:
    return Tokenization(pb.Manifest(vocabulary=vocabulary), folder)


def test_a_tokenizer_that_does_the_same_passes(tmp_path: Path) -> None:
    tokenizer = words(lowercase=True)
    vocabulary = probed(tmp_path, tokenizer, pb.TOKEN_LEVEL_WORD, "The CAT", "the dog!", "", unknown=0)
    assert list(vocabulary.probes[0].token_ids) == [1, 2]
    check_probes(opened(tmp_path, vocabulary))
    letters = probed(tmp_path, character_tokenizer("ab "), pb.TOKEN_LEVEL_CHARACTER, "a b", "bb")
    check_probes(opened(tmp_path, letters))


def test_a_tokenizer_that_does_not_lower_case_any_more_is_refused(tmp_path: Path) -> None:
    tokenizer = words(lowercase=True)
    vocabulary = probed(tmp_path, tokenizer, pb.TOKEN_LEVEL_WORD, "cat", "The CAT", unknown=0)
    words(lowercase=False).save(str(tmp_path / "tokenizer.json"))
    expected = r"vocabulary\.probes\[1\], 'The CAT', must give tokens \[1, 2\], got \[0, 0\]; tokenizers \d"
    with pytest.raises(BrokenServableError, match=expected):
        check_probes(opened(tmp_path, vocabulary))


def test_a_probe_that_cannot_be_tokenized_is_refused(tmp_path: Path) -> None:
    vocabulary = probed(tmp_path, character_tokenizer("ab"), pb.TOKEN_LEVEL_CHARACTER, "ab")
    vocabulary.probes.add(text="c" * 100, token_ids=[1])
    with pytest.raises(BrokenServableError, match=r"'c{60}…', must give tokens \[1\], got character 'c'"):
        check_probes(opened(tmp_path, vocabulary))
