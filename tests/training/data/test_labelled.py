"""Labelled texts out of files of any format, and which files are meant."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.training.data.files import LabelledFile, files, kind, labelled_files
from seqserve.training.data.labelled import LabelledFormat, read_labelled
from seqserve.training.data.split import shuffled_parts
from seqserve.training.errors import DataError

ROWS = [("good, really", "pos"), ("bad", "neg")]


def read(
    folder: Path, name: str, content: str, form: LabelledFormat | None = None
) -> list[tuple[str, tuple[str, ...]]]:
    path = folder / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return [(text.text, text.labels) for text in read_labelled(LabelledFile(path, None), form)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,stars,label\n"good, really",5,pos\nbad,1,neg\n'),
        ("a.CSV.gz", 'label,text\r\npos,"good, really"\r\nneg,bad\r\n'),
        ("a.tsv", "text\tlabel\ngood, really\tpos\nbad\tneg\n"),
        ("a.jsonl", '{"text": "good, really", "label": "pos"}\n\n{"label": "neg", "text": "bad", "more": 1}\n'),
    ],
)
def test_texts_and_labels_are_found_by_the_names_of_their_columns(tmp_path: Path, name: str, content: str) -> None:
    assert read(tmp_path, name, content) == [(text, (label,)) for text, label in ROWS]


def test_columns_may_be_numbers_where_no_line_names_them(tmp_path: Path) -> None:
    form = LabelledFormat(text="2", label="1")
    assert read(tmp_path, "a.tsv", "pos\tgood, really\nneg\tbad\n", form) == [(text, (label,)) for text, label in ROWS]


def test_quoted_fields_may_hold_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"two\nlines",a\nx,b\n', encoding="utf-8")
    found = read_labelled(LabelledFile(path, None))
    assert [(text.text, text.line) for text in found] == [("two\nlines", 2), ("x", 4)]


def test_a_text_may_have_several_labels(tmp_path: Path) -> None:
    form = LabelledFormat(separator="|")
    assert read(tmp_path, "a.tsv", "text\tlabel\nx\ta|b|a\ny\t\n", form) == [("x", ("a", "b")), ("y", ())]
    assert read(tmp_path, "a.jsonl", '{"text": "x", "label": ["a", 2, true]}') == [("x", ("a", "2", "true"))]


def test_a_file_may_have_one_label_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "neg.txt").write_text("bad \n\n worse\n", encoding="utf-8")
    (file,) = labelled_files([Path(f"neg={tmp_path / 'neg.txt'}")])
    assert [(text.text, text.labels, text.line) for text in read_labelled(file)] == [
        ("bad", ("neg",), 1),
        ("worse", ("neg",), 3),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,b\n1,2\n", "line 1: no column 'text' among 'a', 'b'"),
        ("a.csv", 'text,label\n"x,y\n', "line 2: not CSV: unexpected end of data"),
        ("a.tsv", "text\tlabel\nx\n", "line 2: expected at least 2 columns, found 1"),
        ("a.tsv", "text\tlabel\nx\t\n", "line 2: the label is empty"),
        ("a.tsv", "text\tlabel\n \tx\n", "no texts: expected at least one"),
        ("a.tsv", "text\tlabel\n", "no texts: expected at least one"),
        ("a.jsonl", '{"text": "x"}', "line 1: no 'label' among 'text'"),
        ("a.jsonl", "\n{x}", "line 2: not JSON: Expecting property name"),
        ("a.jsonl", "[1]", "line 1: expected an object with 'text' and 'label'"),
        ("a.jsonl", '{"text": 1, "label": 2}', "line 1: expected 'text' to be a string, found 1"),
        ("a.jsonl", '{"text": "x", "label": {}}', "line 1: expected a label, found {}"),
        ("a.txt", "x", "the ending '.txt' does not tell texts from labels: .* LABEL=PATH"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, name, content)


@given(
    rows=st.lists(st.tuples(st.text(min_size=1), st.sampled_from("ab")).filter(lambda row: row[0].strip()), min_size=1)
)
def test_jsonl_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    content = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    found = read(tmp_path_factory.mktemp("a"), "a.jsonl", content)
    assert found == [(text, (label,)) for text, label in rows]


def test_directories_and_patterns_give_their_files_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.txt", "a.txt", ".hidden", "c.csv", "d/e.txt", "odd[1].txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in files([tmp_path])] == ["a.txt", "b.txt", "c.csv", "odd[1].txt"]
    assert [path.name for path in files([tmp_path / "*.txt"])] == ["a.txt", "b.txt", "odd[1].txt"]
    assert files([Path("**/e.txt"), Path("odd[1].txt")]) == (Path("d/e.txt"), Path("odd[1].txt"))
    assert labelled_files([Path("x=d")]) == (LabelledFile(Path("d/e.txt"), "x"),)
    with pytest.raises(DataError, match="no file matches this pattern"):
        files([Path("*.json")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the directory holds no file"):
        files([Path("empty")])


def test_the_ending_of_a_name_tells_its_kind() -> None:
    assert [kind(Path(name)) for name in ("a.TSV.gz", "a.csv", "b.gz", "c")] == [".tsv", ".csv", "", ""]


@given(count=st.integers(0, 200), validation=st.floats(0, 0.4), test=st.floats(0, 0.4), seed=st.integers(0, 99))
def test_parts_are_fixed_by_the_seed_and_share_nothing(count: int, validation: float, test: float, seed: int) -> None:
    items = list(range(count))
    parts = shuffled_parts(items, validation=validation, test=test, seed=seed)
    assert sorted([*parts.train, *parts.validation, *parts.test]) == items
    assert (len(parts.validation), len(parts.test)) == (round(count * validation), round(count * test))
    assert parts == shuffled_parts(items, validation=validation, test=test, seed=seed)


def test_parts_are_not_in_the_order_of_the_file() -> None:
    parts = shuffled_parts(list(range(100)), validation=0.1, test=0.1, seed=0)
    assert parts.validation != sorted(parts.validation)
    assert parts != shuffled_parts(list(range(100)), validation=0.1, test=0.1, seed=1)
    with pytest.raises(ValueError, match="leave nothing to train on"):
        shuffled_parts([1], validation=0.5, test=0.5, seed=0)
