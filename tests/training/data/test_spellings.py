"""Spans are read in one scheme, whatever spelling the files of a run have."""

from pathlib import Path

import pytest

from seqserve.training.data.conllu import Sentence
from seqserve.training.data.labels import Span, spans
from seqserve.training.data.spellings import unified
from seqserve.training.data.tagged import read_tagged
from seqserve.training.errors import DataError
from seqserve.v1 import manifest_pb2

BIO, BIOES, NONE = manifest_pb2.LABEL_SCHEME_BIO, manifest_pb2.LABEL_SCHEME_BIOES, manifest_pb2.LABEL_SCHEME_NONE
CASES = Path(__file__).parent / "cases"


def a_file(folder: Path, tags: str) -> Path:
    path = folder / "a.conll"
    path.write_text("".join(f"w{place} {tag}\n" for place, tag in enumerate(tags.split())), encoding="utf-8")
    return path


def spans_of(sentences: list[Sentence], scheme: manifest_pb2.LabelScheme) -> list[list[Span]]:
    return [list(spans(sentence.tags, scheme)) for sentence in sentences]


def test_one_tag_outside_the_scheme_is_refused_with_its_line() -> None:
    with pytest.raises(DataError, match=r"line \d+: tags look like BIO but for: o \(1\); correct them") as refused:
        read_tagged(CASES / "bio_with_lower_case_o.conll")
    lines = (CASES / "bio_with_lower_case_o.conll").read_text(encoding="utf-8").splitlines()
    assert refused.value.line is not None
    assert lines[refused.value.line - 1].endswith(" o")


def test_bmes_is_read_as_bioes() -> None:
    assert read_tagged(CASES / "bmes.conll") == read_tagged(CASES / "bioes.conll")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-A I-A L-A O U-B", "B-A I-A E-A O S-B"),
        ("B M E S", "B-SPAN I-SPAN E-SPAN S-SPAN"),
        ("B I O B", "B-SPAN I-SPAN O B-SPAN"),
        ("B I L U O", "B-SPAN I-SPAN E-SPAN S-SPAN O"),
        ("NOUN B-X", "NOUN B-X"),
    ],
)
def test_other_spellings_are_rewritten(tmp_path: Path, tags: str, expected: str) -> None:
    (sentence,) = read_tagged(a_file(tmp_path, tags))
    assert " ".join(sentence.tags) == expected


def test_iob1_is_named_and_repaired(tmp_path: Path) -> None:
    path = a_file(tmp_path, "I-A I-A B-A O I-B")
    with pytest.raises(DataError, match="--repair, which converts IOB1, as this file seems to be"):
        read_tagged(path)
    (sentence,) = read_tagged(path, repair=True)
    assert sentence.tags == ("B-A", "I-A", "B-A", "O", "B-B")


@pytest.mark.parametrize("scheme", [None, BIO, BIOES])
def test_all_files_of_a_run_have_one_scheme(
    scheme: manifest_pb2.LabelScheme | None, caplog: pytest.LogCaptureFixture
) -> None:
    """BIOES in training and BIO in validation gave F1 0 without a word."""
    parts = {CASES / name: read_tagged(CASES / name) for name in ("bioes.conll", "bio.conll")}
    target = BIOES if scheme is None else scheme
    bioes, bio = unified(parts, scheme).values()
    assert bioes == bio
    assert spans_of(bio, target) == spans_of(parts[CASES / "bio.conll"], BIO)
    assert "tags are converted from" in caplog.text


def test_a_file_without_spans_among_files_with_spans_is_refused() -> None:
    parts = {Path("a"): [Sentence(("x",), ("B-A",), "")], Path("b"): [Sentence(("x",), ("NOUN",), "")]}
    with pytest.raises(DataError, match="b: its tags are not in BIO, unlike the others: NOUN"):
        unified(parts)
    parts[Path("b")] = [Sentence(("x",), ("O",), "")]
    assert unified(parts) == parts
