from pathlib import Path

import pytest

from seqserve.training.config import TagColumn
from seqserve.training.data.conllu import Sentence, read_conllu
from seqserve.training.errors import DataError


def line(number: str, word: str, upos: str = "NOUN", xpos: str = "NN") -> str:
    return f"{number}\t{word}\t_\t{upos}\t{xpos}\t_\t0\troot\t_\t_"


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "a.conllu"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_words_tags_and_text_are_read_and_ranges_and_empty_nodes_passed_over(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# newdoc",
        "# text = Don't go.",
        line("1-2", "Don't", "_", "_"),
        line("1", "Do", "AUX", "VBP"),
        line("2", "n't", "PART", "RB"),
        line("2.1", "you", "PRON", "PRP"),
        line("3", "go", "VERB", "VB"),
        line("4", ".", "PUNCT", "."),
        "",
        line("1", "Yes", "INTJ", "UH"),
    )
    assert read_conllu(path) == [
        Sentence(("Do", "n't", "go", "."), ("AUX", "PART", "VERB", "PUNCT"), "Don't go."),
        Sentence(("Yes",), ("INTJ",), ""),
    ]
    assert read_conllu(path, TagColumn.XPOS)[1].tags == ("UH",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([line("1", "a"), "2 b NOUN"], r"a\.conllu, line 2: expected 10 columns separated by tabs, found 1"),
        ([line("2", "a")], r"a\.conllu, line 1: expected word id 1 in column 1, found '2'"),
        ([line("1", "a"), line("x", "b")], r"line 2: expected word id 2 in column 1, found 'x'"),
        ([line("1", "")], r"line 1: expected a word form in column 2, found nothing"),
        (["", line("1", "a", upos="_")], r"line 2: expected a tag in column 4, found '_'"),
        (["# nothing", ""], r"a\.conllu: no sentences: expected CoNLL-U"),
    ],
)
def test_what_is_not_conllu_is_refused_with_its_line_and_what_was_expected(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_conllu(written(tmp_path, *lines))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file is empty"):
        read_conllu(written(tmp_path))


def test_the_dev_set_of_ewt_is_read_whole(data_dir: Path) -> None:
    sentences = read_conllu(data_dir / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz")
    assert len(sentences) == 2001
    assert sum(len(sentence.words) for sentence in sentences) == 25147
