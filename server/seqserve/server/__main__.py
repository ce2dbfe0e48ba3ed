"""The command seqserve-server."""

from __future__ import annotations

import argparse
import logging
import sys
import tomllib
from pathlib import Path

try:
    import uvloop
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from seqserve.server.app import serve
    from seqserve.server.errors import ProviderError, UnusableStoreError
    from seqserve.server.settings import load_settings, suspicious_variables
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.startswith("seqserve"):
        raise
    sys.exit(f"seqserve-server needs the package {missing.name}: install it with pip install 'seqserve[server]'")

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Serve a model repository until SIGTERM. Returns the exit status: 0, or 2 if the server could not start."""
    arguments = vars(_parser().parse_args(argv))
    config = arguments.pop("config")
    provider = arguments.pop("provider")
    given = {name: value for name, value in arguments.items() if value is not None}
    if provider is not None:
        given["runtime"] = {"provider": provider}
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seqserve-server",
        description="Serve a repository of recurrent sequence models over gRPC.",
        epilog="Every setting can also be given as SEQSERVE_NAME, for example SEQSERVE_BATCH__SIZE_MAX=32, or in FILE.",
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="the model repository")
    parser.add_argument("--listen", metavar="HOST:PORT", help="address; port 0 takes any free one (127.0.0.1:50051)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    parser.add_argument("--provider", choices=("auto", "cpu", "cuda"), help="what runs the graphs (auto)")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="least level logged (info)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
