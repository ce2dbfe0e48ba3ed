"""docs/architecture.md names files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "seqserve" / "server"
PAGE = ROOT / "docs" / "architecture.md"
FILE = re.compile(r"(?<![\w/])(?:[a-z_]+/)*[a-z_]+\.py")


def unknown_files(text: str, root: Path) -> list[str]:
    """The Python files that a page names and that don't exist.

    Args:
        text: The page.
        root: Folder that the paths are relative to; a bare name may be in any folder below it.

    Returns:
        The names in order of appearance.
    """
    names = {path.name for path in root.rglob("*.py")}
    return [
        file for file in FILE.findall(text) if not (root / file).exists() and not ("/" not in file and file in names)
    ]


def test_every_file_that_the_page_names_exists() -> None:
    assert unknown_files(PAGE.read_text(encoding="utf-8"), SERVER) == []


def test_a_file_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "state.py").touch()
    assert unknown_files("`state.py` api/state.py other.py api/gone.py", tmp_path) == ["other.py", "api/gone.py"]
