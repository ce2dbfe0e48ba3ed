"""The page of settings names all of them, with the defaults and meanings that the code has."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from seqserve.server.settings import ServerSettings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def rows(settings: type[BaseModel], above: str = "") -> Iterator[str]:
    """A row of the table for each setting, in the order of the code."""
    for name, field in settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from rows(inner, f"{above}{name}.")
        else:
            default = (
                "required" if field.default is PydanticUndefined else f"`{field.default}`".replace("`None`", "none")
            )
            yield f"| `{above}{name}` | {default} | {field.description} |"


def test_page_names_every_setting_as_the_code_has_it() -> None:
    wanted = list(rows(ServerSettings))
    written = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert written == wanted, "the table has to read\n" + "\n".join(wanted)
