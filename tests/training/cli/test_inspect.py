"""``seqserve-train data inspect`` counts the content of the files."""

import json
from pathlib import Path
from typing import Any

import pytest

from seqserve.training.cli.main import main
from seqserve.training.data.inspection import LONGEST, PartCounts, inspection


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["data", "inspect", "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_labelled_texts(capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.tsv").write_text("text\tlabel\nGood film\tpos\nbad\tneg\ngood\tpos\n", encoding="utf-8")
    Path("dev.tsv").write_text("text\tlabel\nbad good unheard unheard\tneg\n", encoding="utf-8")
    found = figures(capsys, "--data", "train.tsv", "--validation", "dev.tsv", "--lowercase")
    train, dev = found["parts"]["train"], found["parts"]["validation"]
    assert found["vocabulary"] == 3
    assert (train["items"], train["tokens"], train["distinct_tokens"]) == (3, 4, 3)
    assert train["labels"] == {"pos": 2, "neg": 1}
    assert train["longest"][0] == {"tokens": 2, "where": "train.tsv:2", "begins": "Good film"}
    assert (dev["coverage"], dev["missing"]) == (0.5, {"unheard": 2})


def test_tagged_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.iob2").write_text("1\tNew\tB-LOC\n2\tYork\tI-LOC\n\n1\tX\tO\n", encoding="utf-8")
    train = figures(capsys, "--data", "a.iob2", "--level", "character")["parts"]["train"]
    assert train["labels"] == {"I-LOC": 6, "B-LOC": 1, "O": 1}
    assert train["length_percentiles"] == {"0": 1, "5": 1, "25": 1, "50": 1, "75": 7, "95": 7, "99": 7, "100": 7}


def test_documents_of_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("One two.|three|four five six", encoding="utf-8")
    train = figures(capsys, "--data", "a.txt", "--document-separator", "|")["parts"]["train"]
    assert (train["items"], train["tokens"], train["characters"]) == (3, 7, 26)
    assert [item["tokens"] for item in train["longest"]] == [3, 3, 1]


def test_tables_show_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.tsv").write_text("text\tlabel\n[bold]x[/red]\t[b]\n", encoding="utf-8")
    assert main(["data", "inspect", "--data", "a.tsv", "--validation", "a.tsv", "--vocabulary-max", "1"]) == 0
    shown = capsys.readouterr().out
    assert "[b]" in shown
    assert "[bold]x[/red]" in shown
    assert "outside the vocabulary" in shown


def test_bad_files_are_told_as_in_training(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.tsv").write_text("text\tlabel\nx\t\n", encoding="utf-8")
    assert main(["data", "inspect", "--data", "a.tsv"]) == 1
    assert "a.tsv, line 2: the label is empty" in capsys.readouterr().err


def test_the_longest_are_kept_however_many_there_are() -> None:
    counts = PartCounts()
    for length in (3, 9, 1, 7, 8, 2, 6):
        counts.add("x" * length, (), where=str(length), text="")
    longest = inspection({"train": counts}, "x")["parts"]["train"]["longest"]
    assert [item["tokens"] for item in longest] == [9, 8, 7, 6, 3]
    assert len(longest) == LONGEST
