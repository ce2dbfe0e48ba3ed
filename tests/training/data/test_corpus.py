"""Token IDs of texts on disk: the training split, the validation split, and the memory that they take."""

import tracemalloc
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from seqserve.training.config import LanguageModelConfig
from seqserve.training.config.language_model import TextLevel
from seqserve.training.data.corpus import TokenText, corpus, cut_pieces, token_text
from seqserve.training.data.documents import Text
from seqserve.training.errors import DataError
from seqserve.training.tokenizers.text import text_tokenizer


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, text in (("a", "x" * 60), ("b", "y" * 40)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [tmp_path / "a", tmp_path / "b"]


def texts(config: LanguageModelConfig) -> tuple[str, str]:
    train, validation = ("".join(piece.text for piece in part.pieces()) for part in corpus(config))
    return train, validation


def numbered(text: Text, config: LanguageModelConfig) -> tuple[Tokenizer, TokenText]:
    tokenizer = text_tokenizer(config, (piece.text for piece in cut_pieces(text, config.level)))
    return tokenizer, token_text(text, tokenizer, config.level)


def test_the_last_tenth_is_for_validation(files: list[Path]) -> None:
    config = LanguageModelConfig(data=tuple(files))
    assert texts(config) == ("x" * 60 + "y" * 30, "y" * 10)
    a, b = files
    train, validation = corpus(config)
    assert numbered(train, config)[1].tokens == {a: 60, b: 30}
    assert numbered(validation, config)[1].tokens == {b: 10}


def test_the_border_may_lie_in_any_file(files: list[Path]) -> None:
    config = LanguageModelConfig(data=tuple(files), validation_fraction=0.5)
    assert texts(config) == ("x" * 50, "x" * 10 + "y" * 40)


def test_files_given_for_validation_are_not_trained_on(files: list[Path]) -> None:
    a, b = files
    assert texts(LanguageModelConfig(data=(a,), validation=(b,))) == ("x" * 60, "y" * 40)


def test_of_documents_the_last_ones_are_for_validation_and_none_is_cut(tmp_path: Path) -> None:
    (tmp_path / "poems").mkdir()
    for number in range(10):
        (tmp_path / "poems" / f"{number}.txt").write_text(f"poem {number}", encoding="utf-8")
    config = LanguageModelConfig(data=(tmp_path / "poems",), documents=True, validation_fraction=0.2)
    train, validation = corpus(config)
    assert [piece.text for piece in validation.pieces()] == ["poem 8", "poem 9"]
    assert train.units() == 8


def test_a_limit_counts_characters_as_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A--B  C, D!\n" * 10, encoding="utf-8")
    config = LanguageModelConfig(
        data=(tmp_path / "a",), lowercase=True, letters_only=True, characters_max=7, validation_fraction=0.3
    )
    assert texts(config) == ("a b c", " d")


def test_the_time_machine_is_read_as_the_book_on_deep_learning_reads_it(data_dir: Path) -> None:
    config = LanguageModelConfig(
        data=(data_dir / "time_machine" / "timemachine.txt",), lowercase=True, letters_only=True
    )
    text = "".join(texts(config))
    assert len(text) == 173_428  # d2l-en, chapter "text sequence"
    assert sorted(set(text)) == [" ", *"abcdefghijklmnopqrstuvwxyz"]
    assert text.startswith("the time machine by h g wells")


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("level", list(TextLevel))
def test_the_ids_of_documents_give_the_documents_back(tmp_path: Path, level: TextLevel, special: bool) -> None:
    documents = ["the cat sat.\n", "国家 and  naïve", "x"]
    (tmp_path / "a").write_text("%%".join(documents), encoding="utf-8")
    config = LanguageModelConfig(
        data=(tmp_path / "a",),
        level=level,
        document_separator="%%",
        start_token=special,
        end_token=special,
        vocabulary_max=300,
    )
    whole = Text(config.data, corpus(config)[0].form)
    tokenizer, text = numbered(whole, config)
    ends = [*text.starts[1:].tolist(), len(text.ids)]
    found = [tokenizer.decode(text.ids[a:b].tolist()) for a, b in zip(text.starts, ends, strict=True)]
    assert found == [f"<s>{document}</s>" if special else document for document in documents]
    assert text.characters == sum(map(len, documents))


def test_bits_are_counted_by_characters_whatever_the_tokens(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("to be or not to be " * 20, encoding="utf-8")
    ratios = {}
    for level in TextLevel:
        config = LanguageModelConfig(data=(tmp_path / "a",), level=level, vocabulary_max=300)
        ratios[level] = numbered(corpus(config)[0], config)[1].targets_per_character
    assert ratios[TextLevel.CHARACTER] == ratios[TextLevel.BYTE] == 1
    assert ratios[TextLevel.WORD] == pytest.approx(6 / 19, rel=0.02)
    assert ratios[TextLevel.BPE] < 0.5


def test_a_start_token_has_every_character_predicted(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abcde", encoding="utf-8")
    config = LanguageModelConfig(data=(tmp_path / "a",), validation=(tmp_path / "a",), start_token=True)
    text = numbered(corpus(config)[0], config)[1]
    assert (text.targets, text.targets_per_character) == (5, 1)


def test_a_character_that_training_never_had_is_an_error_that_names_it(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "c").write_text("xxö", encoding="utf-8")
    config = LanguageModelConfig(data=tuple(files), validation=(tmp_path / "c",))
    train, validation = corpus(config)
    tokenizer, _ = numbered(train, config)
    with pytest.raises(DataError, match=r"c: the character 'ö' \(offset 2 of the text\) does not occur"):
        token_text(validation, tokenizer, config.level)


@pytest.mark.parametrize("level", [TextLevel.CHARACTER, TextLevel.BYTE])
def test_a_file_larger_than_the_memory_bound_is_read(tmp_path: Path, level: TextLevel) -> None:
    bound = 24 << 20
    line = b"the quick brown fox jumps over the lazy dog, and the dog does not mind.\n"
    (tmp_path / "large.txt").write_bytes(line * (bound // len(line) * 5 // 4))
    config = LanguageModelConfig(data=(tmp_path / "large.txt",), level=level)
    tracemalloc.start()
    try:
        train, _ = corpus(config)
        _, text = numbered(train, config)
        first = next(text.windows(streams=64, steps=64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert text.ids.nbytes > 4 * bound
    assert first.inputs.shape == (64, 64)
    assert peak < bound
