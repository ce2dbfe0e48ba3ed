"""The command line: every setting is a flag."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from seqserve.server.__main__ import parse_arguments
from seqserve.server.settings import ServerSettings, load_settings


def flags(settings: type[BaseModel], section: str = "") -> list[str]:
    """The flag of each setting, as --section.name."""
    names: list[str] = []
    for name, field in settings.model_fields.items():
        kind = field.annotation
        inner = isinstance(kind, type) and issubclass(kind, BaseModel)
        names += flags(kind, f"{name}.") if inner else [f"--{section}{name}"]  # type: ignore[arg-type]
    return names


def load(*argv: str) -> ServerSettings:
    config, given = parse_arguments(list(argv))
    return load_settings(config, **given)


def test_every_setting_is_a_flag_in_both_spellings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--help"])
    assert ended.value.code == 0
    words = capsys.readouterr().out.replace(",", " ").split()
    for flag in flags(ServerSettings):
        assert flag in words
        assert "--" + flag.removeprefix("--").replace(".", "-").replace("_", "-") in words


def test_help_has_a_group_for_each_section(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    text = capsys.readouterr().out
    for section in ("batch", "limits", "sessions", "runtime", "wire"):
        assert f"\n{section} options:\n" in text
    assert "None" not in text


@pytest.mark.parametrize("flag", ["--batch.size_max=7", "--batch-size-max=7"])
def test_a_flag_of_a_section_wins_and_leaves_the_rest_of_the_section(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "seqserve.toml"
    file.write_text("[batch]\nsize_max = 4\nqueue_depth_max = 5\nslice_tokens = 6\n")
    monkeypatch.setenv("SEQSERVE_BATCH__SIZE_MAX", "3")
    monkeypatch.setenv("SEQSERVE_BATCH__SLICE_TOKENS", "9")
    settings = load("--models", "/models", "--config", str(file), flag)
    assert (settings.batch.size_max, settings.batch.slice_tokens, settings.batch.queue_depth_max) == (7, 9, 5)


def test_the_short_flags_of_before_work() -> None:
    settings = load("--models", "/m", "--listen", "[::1]:7", "--provider", "cpu", "--log-level", "debug")
    assert (settings.models, settings.listen) == (Path("/m"), "[::1]:7")
    assert (settings.runtime.provider, settings.log_level) == ("cpu", "debug")


def test_a_flag_that_is_not_given_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQSERVE_DRAIN_S", "2")
    assert parse_arguments(["--models", "/m"]) == (None, {"models": "/m"})
    assert load("--models", "/m").drain_s == 2
    assert load("--models", "/m", "--drain-s", "3").drain_s == 3


def test_an_unknown_flag_is_an_error_also_if_it_begins_like_another(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--batch-size", "--mod"):
        with pytest.raises(SystemExit) as ended:
            parse_arguments(["--models", "/m", flag, "3"])
        assert ended.value.code == 2
        assert flag in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("seqserve-server 0.")
