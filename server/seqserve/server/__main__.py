"""The command seqserve-server."""

from __future__ import annotations

import argparse
import logging
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

try:
    import uvloop
    from pydantic import BaseModel, ValidationError
    from pydantic_settings import CliSettingsSource, SettingsError

    from seqserve.server.app import serve
    from seqserve.server.errors import ProviderError, UnusableStoreError
    from seqserve.server.settings import ServerSettings, load_settings, suspicious_variables
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.startswith("seqserve"):
        raise
    sys.exit(f"seqserve-server needs the package {missing.name}: install it with pip install 'seqserve[server]'")

log = logging.getLogger(__name__)

_SHORT = {"runtime.provider": "provider"}  # flags beside those that the names of the settings give


def main(argv: list[str] | None = None) -> int:
    """Serves a model repository until SIGTERM.

    Args:
        argv: Arguments without the command's name. Default: those of the process.

    Returns:
        The exit status: 0, or 2 if the server could not start.
    """
    config, given = parse_arguments(argv)
    try:
        settings = load_settings(config, **given)
        logging.basicConfig(
            level=settings.log_level.upper(),
            stream=sys.stderr,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        for warning in suspicious_variables():
            log.warning("%s", warning)
        uvloop.run(serve(settings))  # a quarter less processor time a message than asyncio's own loop
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "missing":
                variable, flag = f"SEQSERVE_{name.upper()}", f"--{name.replace('_', '-')}"
                print(f"seqserve-server: setting {name} is missing: give {flag}, or {variable}", file=sys.stderr)
            else:
                print(f"seqserve-server: setting {name}: {problem['msg']}", file=sys.stderr)
        return 2
    except SettingsError as error:
        print(f"seqserve-server: {error}; a section is JSON, for example '{{\"size_max\": 32}}'", file=sys.stderr)
        return 2
    except tomllib.TOMLDecodeError as error:
        print(f"seqserve-server: {config} is not TOML: {error}", file=sys.stderr)
        return 2
    except (OSError, ProviderError, UnusableStoreError) as error:
        print(f"seqserve-server: {error}", file=sys.stderr)
        return 2
    return 0


def parse_arguments(argv: list[str] | None) -> tuple[Path | None, dict[str, Any]]:
    """Parses the command line. Values are not checked: the settings do that, wherever a value comes from.

    Args:
        argv: Arguments without the command's name. None: those of the process.

    Returns:
        The TOML file, if one is named, and the settings that are given, by section.

    Raises:
        SystemExit: A flag is unknown, or is --help or --version.
    """
    parser = _parser()
    source: CliSettingsSource[ServerSettings] = CliSettingsSource(
        ServerSettings,
        root_parser=parser,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_shortcuts=dict(_flags(ServerSettings)),
        cli_use_class_docs_for_groups=True,
    )
    arguments = parser.parse_args(argv)
    return arguments.config, dict(source(parsed_args=arguments)())


class _HelpFormatter(argparse.HelpFormatter):
    """Prints all names of a flag with one placeholder after them, and no default where there is none."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = ", ".join(action.option_strings)
        if action.nargs == 0:
            return names
        value = self._format_args(action, "")
        return f"{names} {value if action.choices or '{' in value else value.upper()}"

    def _expand_help(self, action: argparse.Action) -> str:
        return super()._expand_help(action).removesuffix(" (default: None)")


def _parser() -> argparse.ArgumentParser:
    """Returns the parser of the arguments that aren't settings; the settings are added to it."""
    parser = argparse.ArgumentParser(
        prog="seqserve-server",
        usage="seqserve-server --models DIR [OPTION ...]",
        description="Serves a repository of recurrent sequence models over gRPC.",
        epilog="Each setting can also be set by a variable, for example SEQSERVE_BATCH__SIZE_MAX=32, or in FILE.",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"seqserve-server {version('seqserve')}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="read settings from a TOML file")
    return parser


def _flags(settings: type[BaseModel], section: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each setting with its flags beside --section.name: --section-name, with hyphens."""
    for name, field in settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _flags(kind, f"{name}.")
            continue
        full = f"{section}{name}"
        names = [full.replace(".", "-").replace("_", "-"), _SHORT.get(full, full)]
        yield full, [flag for flag in names if flag != full]


if __name__ == "__main__":
    sys.exit(main())
