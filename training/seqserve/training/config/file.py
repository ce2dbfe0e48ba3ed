"""Configurations as files: YAML or TOML in, YAML out.

A file holds the fields of a task's configuration by their names; ``learning-rate`` is the same as ``learning_rate``.
Paths in it are relative to the folder that the command runs in, as those on the command line are.
"""

import difflib
import json
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import yaml

from seqserve.training.config.training import TrainingConfig
from seqserve.training.errors import ConfigError

HEADER = "# The whole configuration of the run in this folder; --config takes it.\n"


def read_config(path: Path, model: type[TrainingConfig]) -> dict[str, Any]:
    """The settings in a file, by field; their values are checked when the configuration is built.

    Raises: ConfigError if the file cannot be read, is neither YAML nor TOML, or has a key that ``model`` does not know.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            content: object = tomllib.loads(text)
        elif path.suffix in (".yaml", ".yml"):
            content = yaml.safe_load(text)
        else:
            raise ConfigError(f"{path}: a configuration file is named .yaml, .yml or .toml")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as a configuration: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        told = " ".join(str(error).split())  # of YAML it has several lines
        raise ConfigError(f"{path}: cannot be read as a configuration: {told}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration is a table of settings and their values")
    table = cast("dict[object, Any]", content)
    given = {str(key).replace("-", "_"): value for key, value in table.items()}
    if unknown := [_unknown(key, model.model_fields) for key in given if key not in model.model_fields]:
        raise ConfigError("\n".join(f"{path}: {each}" for each in unknown))
    return given


def _unknown(key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"unknown setting {key!r}" + (f"; did you mean {near[0]!r}?" if near else "; --help has those of this task")


def write_config(path: Path, config: TrainingConfig) -> None:
    """Write the whole configuration, defaults included, as a file that ``read_config`` reads.

    Raises: ConfigError if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        path.write_text(HEADER + content, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be written: {error.strerror or error}") from error


def differences(before: str, now: TrainingConfig, may_differ: Collection[str]) -> list[str]:
    """What differs between a configuration as JSON and one of the same task, but for the fields in ``may_differ``."""
    old, new = json.loads(before), now.model_dump(mode="json")
    return [
        f"{name} was {old.get(name)} and is {new[name]} now"
        for name in new
        if name not in may_differ and old.get(name) != new[name]
    ]
