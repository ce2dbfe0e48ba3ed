"""Every documented command of the benchmarks and of the soak tests is one that its program accepts."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as benchmarks
from tests.soak import __main__ as soak

ROOT = Path(__file__).parents[2]
PROGRAMS = {"benchmarks": benchmarks, "tests.soak": soak}
COMMAND = re.compile(r"python -m (benchmarks|tests\.soak)((?: (?! )[\w./:=*\[\]-]+)*)")


class ParsedError(Exception):
    """The arguments of a command are valid; what it would do is not done."""


def documented() -> list[tuple[str, str]]:
    """The commands in the pages, the Makefile, and the modules: the program and its arguments."""
    texts = [(ROOT / "Makefile").read_text(encoding="utf-8")]
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")):
        fenced, inline = split_page(page.read_text(encoding="utf-8"))
        texts += [fenced, *(" ".join(code.split()) for code in inline)]
    for module in (*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "tests" / "soak").rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
        texts.append((docstring or "").replace("[--", "--").replace("]", ""))
    commands = {(each[1], each[2].strip()) for text in texts for each in COMMAND.finditer(text)}
    return sorted(command for command in commands if command[1] and not command[1].startswith("NAME"))


def split_page(text: str) -> tuple[str, list[str]]:
    """Splits Markdown. Returns: the lines of its code blocks, and its inline code."""
    parts = text.split("```")
    return "\n".join(parts[1::2]), re.findall(r"`([^`]+)`", " ".join(parts[::2]))


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, argv: Sequence[str]) -> Any:
        result = parse(self, argv)
        if "NAME" not in (self.usage or ""):  # the front door itself continues with the command
            raise ParsedError
        return result

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)


@pytest.mark.parametrize(("program", "arguments"), documented())
def test_a_documented_command_is_accepted(program: str, arguments: str, nothing_runs: None) -> None:
    with pytest.raises(ParsedError):
        PROGRAMS[program].main(shlex.split(arguments))


def test_the_pages_name_many_commands() -> None:
    """The search above finds them: each command that a page or a module shows is among those tested."""
    names = {arguments.split()[0] for _, arguments in documented()}
    assert {"suite", "results", "training", "cells", "kill", "replicas", "long-stream", "load"} <= names


@pytest.mark.parametrize("name", benchmarks.COMMANDS)
def test_every_command_describes_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        benchmarks.main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: python -m benchmarks {name}")


@pytest.mark.parametrize("name", soak.COMMANDS)
def test_every_soak_test_describes_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        soak.main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: python -m tests.soak {name}")


@pytest.mark.parametrize("argv", [[], ["--help"]])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_the_front_door_lists_its_commands(program: Any, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if argv:
        with pytest.raises(SystemExit, match="0"):
            program.main(argv)
    else:
        program.main(argv)
    listed = re.findall(r"^  ([a-z-]+) +[A-Z]", capsys.readouterr().out, re.MULTILINE)
    assert set(program.COMMANDS) <= set(listed)


def test_an_unknown_command_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmarks.main(["suit"])
    assert "invalid choice: 'suit'" in capsys.readouterr().err
