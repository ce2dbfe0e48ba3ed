from pathlib import Path

import pytest

from seqserve.training.config import LanguageModelConfig
from seqserve.training.data.corpus import Part, read_corpus


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, text in (("a", "x" * 60), ("b", "y" * 40)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [tmp_path / "a", tmp_path / "b"]


def test_the_last_tenth_is_for_validation(files: list[Path]) -> None:
    corpus = read_corpus(LanguageModelConfig(data=tuple(files)))
    assert (corpus.train, corpus.validation) == ("x" * 60 + "y" * 30, "y" * 10)
    a, b = files
    assert corpus.parts == (Part(a, "train", 60), Part(b, "train", 30), Part(b, "validation", 10))


def test_the_border_may_lie_in_any_file(files: list[Path]) -> None:
    corpus = read_corpus(LanguageModelConfig(data=tuple(files), validation_fraction=0.5))
    assert (corpus.train, corpus.validation) == ("x" * 50, "x" * 10 + "y" * 40)
    assert [part.characters for part in corpus.parts] == [50, 10, 40]


def test_files_given_for_validation_are_not_trained_on(files: list[Path]) -> None:
    a, b = files
    corpus = read_corpus(LanguageModelConfig(data=(a,), validation=(b,)))
    assert (corpus.train, corpus.validation) == ("x" * 60, "y" * 40)
    assert corpus.parts == (Part(a, "train", 60), Part(b, "validation", 40))
