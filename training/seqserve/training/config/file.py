"""Configuration files: reads YAML and TOML, writes YAML.

A file contains the fields of a task's configuration by name; ``learning-rate`` equals ``learning_rate``. Paths are
relative to the working directory, like those on the command line.
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

HEADER = "# Complete configuration of the run in this folder, for --config.\n"


def read_config(path: Path, model: type[TrainingConfig]) -> dict[str, Any]:
    """Reads the settings of a file. Their values are validated when the configuration is built.

    Args:
        path: YAML or TOML file, by its suffix.
        model: Configuration whose fields are allowed.

    Returns:
        Values by field name.

    Raises:
        ConfigError: The file can't be read, is neither YAML nor TOML, or has a key that ``model`` doesn't have.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            content: object = tomllib.loads(text)
        elif path.suffix in (".yaml", ".yml"):
            content = yaml.safe_load(text)
        else:
            raise ConfigError(f"{path}: the name of a configuration file must end in .yaml, .yml, or .toml")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as a configuration: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        reason = " ".join(str(error).split())  # YAML errors have several lines
        raise ConfigError(f"{path}: cannot be read as a configuration: {reason}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration is a table of settings and their values")
    table = cast("dict[object, Any]", content)
    settings = {str(key).replace("-", "_"): value for key, value in table.items()}
    if unknown := [_unknown(key, model.model_fields) for key in settings if key not in model.model_fields]:
        raise ConfigError("\n".join(f"{path}: {setting}" for setting in unknown))
    return settings


def _unknown(key: str, known: Collection[str]) -> str:
    similar = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"unknown setting {key!r}" + (
        f"; did you mean {similar[0]!r}?" if similar else "; see --help for the settings of this task"
    )


def write_config(path: Path, config: TrainingConfig) -> None:
    """Writes the complete configuration, including defaults, in the format of ``read_config``.

    Args:
        path: File to write; its folder is created.
        config: The configuration.

    Raises:
        ConfigError: The file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        path.write_text(HEADER + content, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be written: {error.strerror or error}") from error


def differences(before: str, now: TrainingConfig, may_differ: Collection[str]) -> list[str]:
    """Lists the differences between two configurations of the same task.

    Args:
        before: Earlier configuration as JSON.
        now: Current configuration.
        may_differ: Fields to ignore.

    Returns:
        One sentence per field that differs.
    """
    old, new = json.loads(before), now.model_dump(mode="json")
    return [
        f"{name} was {old.get(name)} and is {new[name]} now"
        for name in new
        if name not in may_differ and old.get(name) != new[name]
    ]
