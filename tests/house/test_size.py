"""Files stay short enough to be read in one sitting."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE_LINES_MAX = 350
SERVER_TOP_LEVEL_MAX = 8


def code_lines(source: str) -> int:
    """Lines that are neither empty nor a comment."""
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in source.splitlines())


@pytest.mark.parametrize("package", ["server", "training", "client"])
def test_no_file_is_longer_than_a_sitting(package: str) -> None:
    lengths = {
        str(file.relative_to(ROOT)): code_lines(file.read_text(encoding="utf-8"))
        for file in (ROOT / package).rglob("*.py")
    }
    assert lengths, "no file was looked at"
    too_long = {file: lines for file, lines in lengths.items() if lines > CODE_LINES_MAX}
    assert not too_long, f"more than {CODE_LINES_MAX} lines of code: {too_long}"


def test_empty_lines_and_comments_are_free() -> None:
    assert code_lines("# why\n\nx = 1  # counts\n    \n'''text'''\n") == 2


def test_few_modules_stand_beside_the_folders_of_the_server() -> None:
    files = sorted(file.name for file in (ROOT / "server" / "seqserve" / "server").glob("*.py"))
    assert len(files) <= SERVER_TOP_LEVEL_MAX, f"move one into a folder: {files}"
