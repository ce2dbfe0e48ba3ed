"""The command seqserve: its options, its failures and exit codes, and the process as a whole."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import pytest

from seqserve.client import FieldViolation
from seqserve.client.__main__ import main
from seqserve.client.cli.arguments import COMMANDS, GROUPS
from seqserve.client.testing import Failure, ScriptedServer, piece, started
from seqserve.v1 import generation_pb2
from tests.client.rig import Run, lines_of, refuses


@pytest.mark.parametrize("before", [True, False])
def test_global_options_stand_before_or_after(
    before: bool, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    options, command = ["--server", server.target, "--json", "--timeout", "5"], ["tag", "m", "a"]
    assert main([*options, *command] if before else [*command, *options]) == 0
    assert len(lines_of(capsys.readouterr().out)) == 1


@pytest.mark.parametrize(
    ("failure", "message", "hint"),
    [
        (
            Failure(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_MODEL_NOT_FOUND", "no model 'x'; there are: y"),
            "seqserve: no model 'x'; there are: y",
            "hint: seqserve models lists the models of this server",
        ),
        (
            Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL", "256 waiting", retry_after_s=2),
            "seqserve: 256 waiting",
            "hint: the server is busy: try again in 2 s",
        ),
        (
            Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                "ERROR_REASON_INVALID_FIELD",
                "a field is wrong",
                violations=[FieldViolation("inputs", "at least 1")],
            ),
            "seqserve: a field is wrong; inputs: at least 1",
            None,
        ),
    ],
)
def test_a_failure_is_told_on_standard_error(
    failure: Failure,
    message: str,
    hint: str | None,
    run: Run,
    server: ScriptedServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.on_tag = refuses(failure)
    assert run("tag", "m", "text") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [message, *([hint] if hint else [])]


def test_no_server_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", "127.0.0.1:1", "models"]) == 1
    error = capsys.readouterr().err
    assert "no server answers at 127.0.0.1:1: is seqserve-server running there?" in error
    assert "--server HOST:PORT" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "m", "--seed", "-1"], "seed must be in [0, 2**64), got -1"),
        (["--server", "http://host", "models"], "without http://"),
    ],
)
def test_a_wrong_value_is_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["generate"],
        ["tag", "m"],
        ["score", "m"],
        ["models", "--timeout", "0"],
        ["generate", "m", "--top-k", "x"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: seqserve" in capsys.readouterr().err


def test_an_interrupt_ends_with_130_and_cancels(
    run: Run, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*texts: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupted)
    assert run("generate", "m", "text") == 130


def command(*arguments: str, server: ScriptedServer, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "SEQSERVE_SERVER": server.target}
    return subprocess.Popen(
        [sys.executable, "-m", "seqserve.client", *arguments], env=environment, text=True, encoding="utf-8", **options
    )


def test_as_a_process_it_prints_as_the_text_comes(server: ScriptedServer) -> None:
    with command("generate", "m", "hello", server=server, stdout=subprocess.PIPE) as process:
        assert process.communicate(timeout=60)[0] == "hello\n"
        assert process.returncode == 0


def test_as_a_process_it_is_quiet_when_the_reader_leaves(server: ScriptedServer) -> None:
    async def endless(request: generation_pb2.GenerateRequest) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
        yield started()
        while True:
            yield piece("word " * 1000)

    server.on_generate = endless
    with command("generate", "m", server=server, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(5) == "word "
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == ""
    assert server.cancelled.wait(20.0)


def test_closed_standard_streams_are_a_clean_failure(server: ScriptedServer) -> None:
    for closed, arguments, message in (
        (">&-", "models", "seqserve: standard output is closed\n"),
        (">&- 2>&-", "models", ""),
        ("<&-", "score m -", "seqserve: standard input is closed\n"),
        ("<&-", "generate m -", "seqserve: standard input is closed\n"),
        ("<&-", "sessions import -", "seqserve: standard input is closed\n"),
        (">/dev/full", "models", "seqserve: [Errno 28] No space left on device\n"),
    ):
        script = f"{sys.executable} -m seqserve.client --server {server.target} {arguments} {closed}"
        process = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
        assert (process.returncode, process.stderr) == (1, message), script


def test_standard_input_may_be_closed_where_it_is_not_read(server: ScriptedServer) -> None:
    script = f"{sys.executable} -m seqserve.client --server {server.target} tag m word <&-"
    process = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments", [["tag", "m", b"caf\xe9"], ["generate", b"\xff", "a"], ["generate", "m", "a", "--stop", b"\xe9"]]
)
def test_arguments_have_to_be_utf_8(arguments: list[Any], server: ScriptedServer) -> None:
    whole = [sys.executable, "-m", "seqserve.client", "--server", server.target, *arguments]
    process = subprocess.run(whole, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert re.fullmatch(r"seqserve: (texts|model|stop) must be UTF-8, got the bytes b'.*'\n", process.stderr)


def test_a_principal_from_the_environment_has_to_be_utf_8(server: ScriptedServer) -> None:
    whole = [sys.executable, "-m", "seqserve.client", "--server", server.target, "models"]
    environment = {**os.environb, b"SEQSERVE_PRINCIPAL": b"\xe9"}
    process = subprocess.run(whole, capture_output=True, text=True, check=False, env=environment)
    assert (process.returncode, process.stderr) == (2, "seqserve: principal must be UTF-8, got the bytes b'\\xe9'\n")


def test_help_groups_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert re.search(r"language models:\n  generate +generate text from a prompt\n  chat .*\n  score ", out)
    assert re.search(r"the server:\n  models .*\n  sessions .*\n  health ", out)
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)


def test_help_of_generate_groups_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    out = capsys.readouterr().out
    for title in ("session", "sampling", "length and end", "several texts and beam search", "connection and output"):
        assert f"\n{title}:\n" in out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("seqserve ge", "generate"), ("seqserve generate --temp", "--temperature"), ("seqserve sessions re", "rewind")],
)
def test_shells_complete(typed: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "completions"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(file),
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
    }
    process = subprocess.run([sys.executable, "-m", "seqserve.client"], env=environment, check=False)
    assert process.returncode == 0
    assert expected in file.read_text(encoding="utf-8")
