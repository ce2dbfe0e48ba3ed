"""The command seqserve sessions, and sessions of seqserve generate."""

import io
import stat
import sys
from pathlib import Path

import pytest

from seqserve.client import Client
from seqserve.client.testing import ScriptedServer
from tests.client.rig import Run, cells, ids, lines_of

Captured = pytest.CaptureFixture[str]


def test_a_session_from_its_creation_to_its_end(run: Run, server: ScriptedServer, capsys: Captured) -> None:
    assert run("sessions", "list") == 0
    assert capsys.readouterr().out == "no sessions\n"
    assert run("sessions", "create", "m", "--id", "romeo", "--ttl", "60", "--keep-tokens") == 0
    assert capsys.readouterr().out == "romeo\n"
    assert (server.requests[-2].ttl.seconds, server.requests[-2].keep_tokens) == (60, True)
    assert run("generate", "m", "ab", "--session", "romeo", "--checkpoint", "opening") == 0
    assert run("generate", "m", "c", "--session", "romeo") == 0
    assert capsys.readouterr().out == "ab\nc\n"
    assert run("sessions", "list") == 0
    table = cells(capsys.readouterr().out)
    assert table[0] == ["session", "model", "version", "position", "bytes", "expires"]
    assert [row[:4] for row in table[1:]] == [["romeo", "m", "1", "6"]]
    assert run("sessions", "fork", "romeo", "--checkpoint", "opening", "--id", "other") == 0
    assert capsys.readouterr().out == "other\n"
    assert run("sessions", "rewind", "romeo", "opening") == 0
    details = dict(cells(capsys.readouterr().out))
    assert (details["session"], details["position"], details["checkpoints"]) == ("romeo", "4 tokens", "opening at 4")
    assert run("sessions", "touch", "romeo", "--ttl", "9") == 0
    assert "9 s after its next use" in capsys.readouterr().out
    assert run("sessions", "get", "other", "--json") == 0
    (told_of_other,) = lines_of(capsys.readouterr().out)
    assert (told_of_other["id"], told_of_other["position"]) == ("other", 4)
    for name in ("romeo", "other"):
        assert run("sessions", "delete", name) == 0
    assert ids(server) == []


def test_a_session_that_is_there_is_found(run: Run, server: ScriptedServer, capsys: Captured) -> None:
    for _ in range(2):
        assert run("sessions", "create", "m", "--id", "romeo") == 0
    assert run("sessions", "create", "other", "--id", "romeo") == 1
    assert "belongs to m version 1" in capsys.readouterr().err
    assert run("sessions", "create", "m") == 0
    assert capsys.readouterr().out.strip() in ids(server)
    assert len(ids(server)) == 2


def test_lists_are_lines_for_programs(run: Run, capsys: Captured) -> None:
    for model, name in (("a", "x"), ("b", "y")):
        run("sessions", "create", model, "--id", name)
    capsys.readouterr()
    assert run("sessions", "list", "--json") == 0
    assert [one["id"] for one in lines_of(capsys.readouterr().out)] == ["x", "y"]
    assert run("--json", "sessions", "list", "--model", "b") == 0
    assert [one["servable"]["model"] for one in lines_of(capsys.readouterr().out)] == ["b"]


def test_a_session_is_carried_in_a_file(run: Run, capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "romeo.session"
    run("generate", "m", "ab", "--session", "romeo", "--checkpoint", "opening")
    run("generate", "m", "ab", "--session", "romeo")
    for options, position in ((["--checkpoint", "opening"], 4), ([], 8)):
        assert run("sessions", "export", "romeo", str(file), *options) == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        capsys.readouterr()
        assert run("sessions", "import", str(file), "--json", "--ttl", "9") == 0
        (details,) = lines_of(capsys.readouterr().out)
        assert details["position"] == position
    assert run("sessions", "import", str(file), "--id", "mine") == 0
    assert capsys.readouterr().out == "mine\n"


def test_a_session_goes_through_a_pipe(
    run: Run, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("generate", "m", "ab", "--session", "romeo")
    capfdbinary.readouterr()
    assert run("sessions", "export", "romeo", "-") == 0
    snapshot = capfdbinary.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(snapshot)))
    assert run("sessions", "import", "-", "--id", "other") == 0
    assert capfdbinary.readouterr().out == b"other\n"


def test_files_that_are_not_there_are_told(run: Run, capsys: Captured, tmp_path: Path) -> None:
    assert run("sessions", "import", str(tmp_path / "none")) == 1
    assert capsys.readouterr().err == f"seqserve: {tmp_path}/none: No such file or directory\n"
    run("sessions", "create", "m", "--id", "romeo")
    capsys.readouterr()
    assert run("sessions", "export", "romeo", str(tmp_path / "none" / "file")) == 1
    assert "none" in capsys.readouterr().err


def test_a_session_that_is_not_there_says_where_to_look(run: Run, capsys: Captured) -> None:
    for action in ("get", "delete", "touch"):
        assert run("sessions", action, "nobody") == 1
        complaint, hint = capsys.readouterr().err.splitlines()
        assert complaint == "seqserve: session 'nobody' does not exist"
        assert "seqserve sessions list" in hint


def test_the_principal_comes_from_an_option_or_the_environment(
    run: Run, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("sessions", "list")
    monkeypatch.setenv("SEQSERVE_PRINCIPAL", "ann")
    run("sessions", "list")
    run("sessions", "list", "--principal", "bob")
    run("--principal", "eve", "sessions", "list")
    assert server.principals == [None, "ann", "bob", "eve"]


def test_a_checkpoint_is_one_of_a_session(run: Run, capsys: Captured) -> None:
    assert run("generate", "m", "text", "--checkpoint", "name") == 2
    assert "name it with --session" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nonsense"], ["get"], ["rewind", "a"], ["touch", "a", "--ttl", "0"]])
def test_wrong_usage_ends_with_2(arguments: list[str], run: Run, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        run("sessions", *arguments)
    assert ended.value.code == 2
    assert "usage: seqserve sessions" in capsys.readouterr().err


def test_sessions_alone_lists(run: Run, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    with client.session("m", "mine"):
        pass
    assert run("sessions") == 0
    assert "mine" in capsys.readouterr().out
    assert run("sessions", "--json") == 0
    assert lines_of(capsys.readouterr().out)[0]["id"] == "mine"
