"""A command line out of a pydantic model: one flag a field, checked by the model and by nothing else.

Nothing is required of the command line itself, for a configuration file may hold what it lacks.
"""

import argparse
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from seqserve.training.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=BaseModel)


def add_fields(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """Add a flag to ``parser`` for every field of ``model``; flags that are not given leave no attribute behind."""
    group = parser.add_argument_group("settings")
    for name, field in model.model_fields.items():
        group.add_argument(
            flag(name),
            dest=name,
            default=argparse.SUPPRESS,
            help=_help(field),
            **_reading(field),
        )


def flag(field: str) -> str:
    """The flag of a field: ``hidden_size`` gives ``--hidden-size``."""
    return "--" + field.replace("_", "-")


def configure(
    model: type[ConfigT], given: Mapping[str, object], in_file: Mapping[str, object] | None = None, file: str = ""
) -> ConfigT:
    """Build ``model`` from what was given on the command line and, where that says nothing, in a file.

    Raises: ConfigError: one line per invalid setting, with the reason and the place where it was set.
    """
    settings = {**(in_file or {}), **given}
    try:
        return model.model_validate({name: settings[name] for name in model.model_fields if name in settings})
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_complaint(one, "" if one["loc"] and one["loc"][0] in given else file) for one in error.errors())
        ) from error


def _complaint(error: ErrorDetails, file: str) -> str:
    """Describes an error. Args: file: file that contains the setting; "" for the command line."""
    message = error["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    if not error["loc"]:
        return message
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return f"{flag(name)} is required, on the command line or in the file of --config"
    return f"{f'{file}: {name}' if file else flag(name)}: {message} (got {error['input']!r})"


def _help(field: FieldInfo) -> str:
    text = (field.description or "").replace("%", "%%")
    default = field.get_default()
    if field.is_required():
        return f"{text} Required."
    if default in (None, (), ""):
        return text
    return f"{text} Default: {default}."


def _reading(field: FieldInfo) -> dict[str, Any]:
    if field.annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(field.annotation) is tuple:
        return {"nargs": "+", "metavar": "PATH"}
    if get_origin(field.annotation) is Literal:
        return {"choices": get_args(field.annotation)}
    if isinstance(field.annotation, type) and issubclass(field.annotation, StrEnum):
        return {"choices": [str(choice) for choice in field.annotation]}
    return {"metavar": "VALUE"}
