"""Tagged sentences out of columns: their tags checked or repaired, by words or by characters."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.training.config import ReadingLevel
from seqserve.training.data.conllu import Sentence
from seqserve.training.data.labels import spans
from seqserve.training.data.schemes import BEGINS, ENDS, by_characters, detected_scheme, first_error, repaired, written
from seqserve.training.data.tagged import read_tagged
from seqserve.training.errors import DataError
from seqserve.v1 import manifest_pb2

BIO, BIOES, NONE = manifest_pb2.LABEL_SCHEME_BIO, manifest_pb2.LABEL_SCHEME_BIOES, manifest_pb2.LABEL_SCHEME_NONE
TAGS = st.lists(
    st.sampled_from(["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC"))]), max_size=9
)

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
# O O O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""


def a_file(folder: Path, content: str, name: str = "data.conll") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return path


def test_the_first_and_the_last_column_are_words_and_tags(tmp_path: Path) -> None:
    expected = [
        Sentence(("EU", "rejects", "#"), ("B-ORG", "O", "O"), ""),
        Sentence(("Peter", "Blackburn"), ("B-PER", "I-PER"), ""),
    ]
    assert read_tagged(a_file(tmp_path, CONLL_2003)) == expected
    assert read_tagged(a_file(tmp_path, CONLL_2003, "data.txt.gz")) == expected


def test_other_columns_are_read_where_they_are_named(tmp_path: Path) -> None:
    (first, _) = read_tagged(a_file(tmp_path, CONLL_2003), word_column=1, tag_column=2)
    assert first.tags == ("NNP", "VBZ", "O")


def test_columns_of_universal_ner_are_known_by_their_ending(tmp_path: Path) -> None:
    content = "# newdoc id = 1\n# text = New York\n1\tNew\tB-LOC\t-\t-\n2\tYork\tI-LOC\t-\t-\n\n"
    assert read_tagged(a_file(tmp_path, content, "a.iob2")) == [
        Sentence(("New", "York"), ("B-LOC", "I-LOC"), "New York")
    ]


def test_a_span_that_nothing_began_is_an_error_with_its_line_or_is_repaired(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a O\n\nb B-PER\nc I-LOC\nd I-LOC\n")
    with pytest.raises(DataError, match=r"line 4: word 2 of the sentence, 'c': I-LOC may not follow B-PER in BIO"):
        read_tagged(path)
    assert read_tagged(path, repair=True)[1].tags == ("B-PER", "B-LOC", "I-LOC")


def test_spans_without_any_beginning_are_told_and_not_taken_for_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: .*I-PER may not follow O in BIO; correct it, or train with --repair"):
        read_tagged(a_file(tmp_path, "a O\nb I-PER\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("word\n", "line 1: expected a word in column 2, found 1 columns"),
        ("a O\nb\tO\tX\n\t\tO\n", "line 3: expected a word in column 1, found nothing"),
        ("\n\n", "no sentences"),
        ("", "the file is empty"),
    ],
)
def test_what_is_no_columns_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tagged(a_file(tmp_path, content))


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "B-X", "I-X"], BIO),
        (["O", "I-X"], BIO),
        (["S-X", "O"], BIOES),
        (["B-X", "E-X", "O"], BIOES),
        (["NOUN", "VERB"], NONE),
        (["O"], NONE),
    ],
)
def test_a_scheme_is_known_by_its_tags(tags: list[str], scheme: manifest_pb2.LabelScheme) -> None:
    assert detected_scheme(tags) == scheme


@given(tags=TAGS)
def test_what_is_repaired_has_no_error_and_what_has_none_stays(tags: list[str]) -> None:
    for scheme in (BIO, BIOES):
        given_tags = [tag for tag in tags if scheme == BIOES or tag[0] not in "ES"]
        right = repaired(given_tags, scheme)
        assert first_error(right, scheme) is None
        assert [tag == "O" for tag in right] == [tag == "O" for tag in given_tags]
        assert repaired(right, scheme) == right
        assert first_error(given_tags, scheme) is not None or right == tuple(given_tags)


@given(tags=TAGS, data=st.data())
def test_characters_have_the_spans_of_their_words(tags: list[str], data: st.DataObject) -> None:
    scheme = data.draw(st.sampled_from([BIO, BIOES]))
    right = repaired([tag for tag in tags if scheme == BIOES or tag[0] not in "ES"], scheme)
    words = [data.draw(st.text("ab国", min_size=1, max_size=3)) for _ in right]
    text = data.draw(st.sampled_from([" ".join(words), "".join(words), "", "other text"]))
    characters, labels, edges = by_characters(words, right, text, scheme)
    assert first_error(labels, scheme) is None
    whole = "".join(characters)
    found = [(whole[start:end].replace(" ", ""), kind) for start, end, kind in spans(labels, scheme)]
    assert found == [("".join(words[start:end]), kind) for start, end, kind in spans(right, scheme)]
    assert whole.replace(" ", "") == "".join(words)
    assert whole == text or text in ("", "other text")
    assert cut(characters, edges) == words


def cut(characters: tuple[str, ...], edges: tuple[int, ...]) -> list[str]:
    """The words that begin and end where the edges say so."""
    begins, ends = ([place for place, edge in enumerate(edges) if edge & bit] for bit in (BEGINS, ENDS))
    return ["".join(characters[begin : end + 1]) for begin, end in zip(begins, ends, strict=True)]


def test_written_spans_are_read_as_they_were() -> None:
    tags = ("S-A", "B-B", "I-B", "E-B", "O", "B-C", "E-C")
    assert written(spans(tags, BIOES), len(tags), BIOES) == tags


def test_the_chinese_data_have_as_many_names_by_characters_as_by_words(data_dir: Path) -> None:
    path = data_dir / "uner_chinese_gsd" / "zh_gsd-ud-dev.iob2"
    by_word, by_character = (read_tagged(path, level=level) for level in (ReadingLevel.WORD, ReadingLevel.CHARACTER))
    assert len(by_word) == len(by_character) == 500
    assert all(sentence.text == "".join(sentence.words) for sentence in by_character)
    names = [
        [(kind, "".join(sentence.words[start:end])) for start, end, kind in spans(sentence.tags, BIO)]
        for sentence in by_character
    ]
    assert sum(map(len, names)) == sum(tag[0] == "B" for sentence in by_word for tag in sentence.tags)
