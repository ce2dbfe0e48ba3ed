"""The command seqserve chat, with its lines piped to it and typed at a terminal."""

import builtins
import io
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import grpc
import pytest

from seqserve.client.testing import Failure, ScriptedServer, echo
from seqserve.v1 import generation_pb2
from tests.client.rig import Run, ids, lines_of

Captured = pytest.CaptureFixture[str]
Chat = Callable[..., int]


@pytest.fixture
def chat(run: Run, monkeypatch: pytest.MonkeyPatch) -> Chat:
    """The command with these lines piped to it."""

    def piped(*lines: str, options: tuple[str, ...] = ()) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return run("chat", "m", *options)

    return piped


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def generations(server: ScriptedServer) -> list[generation_pb2.GenerateRequest]:
    return [one for one in server.requests if isinstance(one, generation_pb2.GenerateRequest)]


def test_a_line_in_a_text_out_in_one_session(chat: Chat, server: ScriptedServer, capsys: Captured) -> None:
    assert chat("hello", "", "more", options=("--temperature=0.5", "--seed=3")) == 0
    assert capsys.readouterr() == ("hello\n\n\nmore\n\n", "")
    first, silent, last = generations(server)
    assert [one.text for one in (first, silent, last)] == ["hello\n", "", "more\n"]
    assert len({one.state.session_id for one in (first, silent, last)}) == 1
    assert (first.stopping.max_tokens, first.sampling.temperature, first.sampling.seed) == (200, 0.5, 3)
    assert last.state.expected_position == 12
    assert ids(server) == [], "the session is forgotten at the end"


def test_a_session_with_a_name_stays_and_is_gone_on_with(chat: Chat, server: ScriptedServer) -> None:
    assert chat("a", options=("--session", "romeo")) == 0
    assert chat("b", "/quit", "never read", options=("--session", "romeo")) == 0
    assert server.sessions.kept["romeo"].position == 8
    assert [one.text for one in generations(server)] == ["a\n", "b\n"]


@pytest.mark.parametrize("options", [(), ("--session", "romeo")])
def test_undo_goes_back_answer_by_answer(
    options: tuple[str, ...], chat: Chat, server: ScriptedServer, capsys: Captured
) -> None:
    assert chat("a", "b", "/undo", "c", "/undo", "/undo", "d", options=options) == 0
    assert [one.state.expected_position for one in generations(server)] == [0, 4, 4, 0]
    undone = ["undone: at 4 tokens", "undone: at 4 tokens", "undone: at 0 tokens"]
    assert capsys.readouterr().err.splitlines() == undone
    assert ids(server) == ([] if not options else ["romeo"])


def test_undo_has_an_end(chat: Chat, server: ScriptedServer, capsys: Captured) -> None:
    assert chat("/undo") == 1
    assert capsys.readouterr().err == "seqserve: nothing to undo\n"
    assert chat(*"abcdefghijklmnopqrstuvwxyz", *["/undo"] * 8, "after") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "seqserve: only the last 7 answers can be undone"
    assert generations(server)[-1].state.expected_position == 4 * (26 - 7)


def test_a_fork_stays_on_the_server(chat: Chat, server: ScriptedServer, capsys: Captured) -> None:
    assert chat("a", "/fork other", "b", "/fork") == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first == "copied to session other"
    assert {one: session.position for one, session in server.sessions.kept.items()} == {
        "other": 4,
        second.removeprefix("copied to session "): 8,
    }


def test_a_conversation_is_saved_and_loaded(
    chat: Chat, server: ScriptedServer, capsys: Captured, tmp_path: Path
) -> None:
    file = str(tmp_path / "a file")
    assert chat("a", f"/save {file}", "b") == 0
    assert chat("c", f"/load {file}", "d", "/undo", "e") == 0
    assert [one.state.expected_position for one in generations(server)] == [0, 4, 0, 4, 4]
    assert capsys.readouterr().err.splitlines() == [
        "saved at 4 tokens",
        "loaded at 4 tokens",
        "undone: at 4 tokens",
    ]
    assert ids(server) == []


def test_what_fails_is_told_and_the_conversation_goes_on(
    chat: Chat, server: ScriptedServer, capsys: Captured, tmp_path: Path
) -> None:
    async def picky(
        request: generation_pb2.GenerateRequest,
    ) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
        if "~" in request.text:
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_OUT_OF_VOCABULARY", "no '~'")
        async for event in echo(request):
            yield event

    server.on_generate = picky
    assert chat("a", "~", "/nonsense", "/save", f"/load {tmp_path}/none", "b") == 1
    out, err = capsys.readouterr()
    assert out == "a\n\nb\n\n"
    for words in ("no '~'", "unknown command /nonsense; known commands: /undo", "needs a file", "No such file"):
        assert words in err
    assert generations(server)[-1].text == "b\n"


def test_help_tells_the_commands(chat: Chat, capsys: Captured) -> None:
    assert chat("/help") == 0
    err = capsys.readouterr().err
    assert [command for command in ("/undo", "/fork", "/save", "/load", "/quit") if command not in err] == []
    assert "examples" not in err


def test_answers_are_lines_for_programs(chat: Chat, capsys: Captured) -> None:
    assert chat("a", "b", options=("--json",)) == 0
    first, second = lines_of(capsys.readouterr().out)
    assert (first["text"], first["state"]["position"]) == ("a\n", 4)
    assert (second["text"], second["state"]["position"]) == ("b\n", 8)


def test_a_model_that_is_not_there_ends_it(chat: Chat, server: ScriptedServer, capsys: Captured) -> None:
    async def refuse(request: object) -> object:
        raise Failure(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_MODEL_NOT_FOUND", "no model 'm'")

    server.on_session = refuse  # type: ignore[assignment]
    assert chat("a") == 1
    assert "no model 'm'" in capsys.readouterr().err


def test_at_a_terminal_it_asks(run: Run, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    typed: Iterator[str] = iter(["a", "b"])
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(builtins, "input", answer)
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert run("chat", "m") == 0
    assert prompts == ["> "] * 3
    assert capsys.readouterr().out == "a\n\nb\n\n\n"
