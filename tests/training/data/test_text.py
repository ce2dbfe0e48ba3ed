import gzip
from pathlib import Path

import pytest

from seqserve.training.data.text import read_text
from seqserve.training.errors import DataError


def test_plain_and_compressed_files_read_the_same(tmp_path: Path) -> None:
    text = "Zeile eins\r\nüber zwei\n"
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    assert read_text(tmp_path / "a.txt") == read_text(tmp_path / "a.txt.gz") == text


def test_a_file_that_is_not_utf8_is_refused_with_line_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("one\ntwo é".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt, line 2: not UTF-8: byte 0xe9 at offset 8"):
        read_text(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match=r"empty\.txt: the file is empty: expected text"):
        read_text(tmp_path / "empty.txt")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt: cannot be read: No such file"):
        read_text(tmp_path / "nowhere.txt")


def test_a_file_that_only_pretends_to_be_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"plain text")
    with pytest.raises(DataError, match=r"a\.gz: not a whole gzip file"):
        read_text(tmp_path / "a.gz")


def test_half_a_gzip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"text " * 1000)[:-10])
    with pytest.raises(DataError, match=r"a\.gz: not a whole gzip file"):
        read_text(tmp_path / "a.gz")
