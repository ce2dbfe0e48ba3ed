"""Files as people really have them are read as they were meant, or refused with file and line."""

import logging
from pathlib import Path

import pytest

from seqserve.training.config import ClassifierConfig
from seqserve.training.data.conllu import read_conllu
from seqserve.training.data.files import LabelledFile
from seqserve.training.data.labelled import LabelledFormat, LabelledText, read_labelled
from seqserve.training.data.tagged import read_tagged
from seqserve.training.data.text import read_text
from seqserve.training.errors import DataError
from seqserve.training.tasks.classifier import read

CASES = Path(__file__).parent / "cases"


def texts(name: str, form: LabelledFormat | None = None) -> list[LabelledText]:
    return read_labelled(LabelledFile(CASES / name, None), form)


@pytest.mark.parametrize(
    "name",
    ["field_over_131072_characters.csv.gz", "semicolons_and_byte_order_mark.csv", "quoted_fields.tsv"],
)
def test_columns_are_found_whatever_the_program_that_wrote_the_file(name: str) -> None:
    found = texts(name)
    assert {label for text in found for label in text.labels} == {"pos", "neg"}
    assert not any('""' in text.text or text.text.startswith('"') for text in found)


def test_a_header_of_numbers_names_the_columns() -> None:
    found = texts("header_of_numbers.csv", LabelledFormat(text="0", label="1"))
    assert found[0].line == 2
    assert {label for text in found for label in text.labels} == {"pos", "neg"}


def test_column_0_is_refused_where_no_column_has_that_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("good,pos\nbad,neg\n", encoding="utf-8")
    with pytest.raises(DataError, match="columns are numbered from 1"):
        read_labelled(LabelledFile(path, None), LabelledFormat(text="0", label="1"))


def test_a_header_is_no_text_although_columns_are_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Text,Label\ngood,pos\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        (only,) = read_labelled(LabelledFile(path, None), LabelledFormat(text="1", label="2"))
    assert only.text == "good"
    assert "line 1: taken as names of columns: Text, Label" in caplog.text


def test_rows_without_a_text_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\ngood,pos\n ,neg\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert len(read_labelled(LabelledFile(path, None))) == 1
    assert "1 of 2 rows have no text and are skipped" in caplog.text


def test_half_of_a_surrogate_pair_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lone_surrogate.jsonl, line \d+: the text has half of a surrogate pair, .ud"):
        texts("lone_surrogate.jsonl")
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "label": "\\ud83d"}', encoding="utf-8")
    with pytest.raises(DataError, match="line 1: the label has half of a surrogate pair"):
        read_labelled(LabelledFile(path, None))


def test_utf_16_without_a_byte_order_mark_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("a text of some length".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"not utf-16: .*--encoding utf-16-le"):
        read_text(path, "utf-16")


def test_a_no_break_space_is_part_of_a_word() -> None:
    sentences = read_tagged(CASES / "no_break_space_in_words.conll")
    assert any("\u00a0" in word for sentence in sentences for word in sentence.words)
    assert {tag[:2] for sentence in sentences for tag in sentence.tags} <= {"O", "B-", "I-"}


def test_tabs_at_line_ends_are_no_columns() -> None:
    sentences = read_tagged(CASES / "tab_at_line_ends.conll")
    assert sentences[0].tags[:3] == ("O", "O", "B-LOC")


def test_a_blank_line_may_hold_a_space() -> None:
    assert [sentence.words for sentence in read_conllu(CASES / "blank_line_with_space.conllu")] == [("a", "b")] * 2


def test_a_text_over_the_limit_is_refused_with_its_line() -> None:
    config = ClassifierConfig(data=(CASES / "text_of_5000_tokens.csv",))
    with pytest.raises(DataError, match=r"line \d+: the text has \d+ tokens, at most 4096 are taken"):
        read(config.data, config)
