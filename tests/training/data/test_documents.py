"""Reading in pieces gives what reading whole would: encodings, separators, normalisation, borders of words."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from seqserve.training.config import LanguageModelConfig
from seqserve.training.config.language_model import TextLevel
from seqserve.training.data import text as text_module
from seqserve.training.data.documents import Text, TextForm, between_words
from seqserve.training.data.text import read_lines, read_text
from seqserve.training.errors import DataError
from seqserve.training.tokenizers.text import TextEncoder, text_tokenizer

TEXTS = st.text(st.sampled_from("ab Éß国😀\n\t.-'X9"), min_size=1, max_size=60)
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=[1, 3, 7])
def piece_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(text_module, "PIECE_BYTES", request.param)
    size: int = request.param
    return size


def a_text(folder: Path, content: str, form: TextForm | None = None) -> Text:
    (folder / "text").write_bytes(content.encode())
    return Text((folder / "text",), form or TextForm())


def documents(text: Text) -> list[str]:
    found = list[str]()
    for piece in text.pieces():
        assert piece.text
        if piece.begins:
            found.append("")
        found[-1] += piece.text
    return found


@given(content=TEXTS)
@SHARED_FOLDER
def test_pieces_of_a_text_are_the_text(tmp_path: Path, piece_bytes: int, content: str) -> None:
    assert documents(a_text(tmp_path, content)) == [content]


@given(content=TEXTS, separator=st.sampled_from(["a", "aa", "a b", "\n\n"]))
@SHARED_FOLDER
def test_documents_are_what_stands_between_separators(
    tmp_path: Path, piece_bytes: int, content: str, separator: str
) -> None:
    text = a_text(tmp_path, content, TextForm(separator=separator))
    assert documents(text) == [document for document in content.split(separator) if document]


@given(content=TEXTS)
@SHARED_FOLDER
def test_a_run_of_what_is_no_letter_is_one_space_wherever_a_piece_ends(
    tmp_path: Path, piece_bytes: int, content: str
) -> None:
    text = a_text(tmp_path, content, TextForm(lowercase=True, letters_only=True))
    assert documents(text) == [re.sub(r"[^a-zéß国]+", " ", content.lower())]


@pytest.mark.parametrize("level", [TextLevel.WORD, TextLevel.BPE])
@given(content=TEXTS)
@SHARED_FOLDER
def test_no_token_is_cut_at_the_border_of_a_piece(
    tmp_path: Path, piece_bytes: int, level: TextLevel, content: str
) -> None:
    encoder = TextEncoder(_tokenizer(level), level)
    ids = [index for piece in between_words(a_text(tmp_path, content).pieces()) for index in encoder.encode(piece.text)]
    assert ids == encoder.encode(content).tolist()


def _tokenizer(level: TextLevel) -> Tokenizer:
    text = "aa ab\n\na. É9 ß国\t  😀 X'a b-a " * 3
    return text_tokenizer(LanguageModelConfig(data=(Path("none"),), level=level, vocabulary_max=300), [text])


@given(content=TEXTS, cuts=st.tuples(st.integers(0, 60), st.integers(0, 60)))
@SHARED_FOLDER
def test_a_part_is_the_characters_that_it_names(
    tmp_path: Path, piece_bytes: int, content: str, cuts: tuple[int, int]
) -> None:
    start, end = min(cuts), max(cuts)
    whole = a_text(tmp_path, content)
    part = Text(whole.paths, whole.form, start, end)
    assert "".join(documents(part)) == content[start:end]


def test_each_file_may_be_a_document_and_none_goes_over_its_end(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"of {name} ", encoding="utf-8")
    paths = (tmp_path / "a", tmp_path / "b")
    assert documents(Text(paths, TextForm(documents=True))) == ["of a ", "of b "]
    assert documents(Text(paths, TextForm())) == ["of a of b "]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "gb18030"])
def test_other_encodings_are_read_where_they_are_named(tmp_path: Path, piece_bytes: int, encoding: str) -> None:
    content = "Zeile é\nzwei ü"
    (tmp_path / "text").write_bytes(content.encode(encoding))
    assert read_text(tmp_path / "text", encoding) == content


def test_a_byte_that_is_no_text_is_found_in_whatever_piece_it_lies(tmp_path: Path, piece_bytes: int) -> None:
    (tmp_path / "text").write_bytes("国\n国\nab".encode() + b"\xff" + b" and more")
    with pytest.raises(DataError, match=r"text, line 3: not UTF-8: byte 0xff at offset 10 .*--encoding"):
        read_text(tmp_path / "text")


def test_a_character_that_the_file_ends_in_the_middle_of_is_refused(tmp_path: Path, piece_bytes: int) -> None:
    (tmp_path / "text").write_bytes("ab国".encode()[:-1])
    with pytest.raises(DataError, match=r"line 1: not UTF-8: byte 0xe5 at offset 2 \(unexpected end of data\)"):
        read_text(tmp_path / "text")


def test_a_byte_order_mark_is_no_text(tmp_path: Path, piece_bytes: int) -> None:
    (tmp_path / "text").write_bytes("\ufefftext".encode())
    assert read_text(tmp_path / "text") == "text"


def test_lines_have_their_numbers_and_no_ends(tmp_path: Path, piece_bytes: int) -> None:
    (tmp_path / "text").write_bytes("a\r\n\nü".encode())
    assert list(read_lines(tmp_path / "text")) == [(1, "a"), (2, ""), (3, "ü")]
