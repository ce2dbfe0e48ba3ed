"""The page of settings is the one that the code generates."""

from pathlib import Path

from pydantic import BaseModel

from seqserve.server.settings import ServerSettings
from seqserve.server.settings_page import page

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def names(settings: type[BaseModel], above: str = "") -> list[str]:
    """All settings, with their sections."""
    found: list[str] = []
    for name, field in settings.model_fields.items():
        inner = field.annotation
        section = isinstance(inner, type) and issubclass(inner, BaseModel)
        found += names(inner, f"{above}{name}.") if section else [above + name]  # type: ignore[arg-type]
    return found


def test_page_is_the_one_that_the_code_generates() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "docs/settings.md is stale: run `make settings`"


def test_page_names_every_setting_once() -> None:
    rows = [line.split("`")[1] for line in page().splitlines() if line.startswith("| `")]
    assert rows == names(ServerSettings)
