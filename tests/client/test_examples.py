"""The examples run, as written, against a scripted server."""

import doctest
import importlib.util
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from seqserve.client import testing
from seqserve.client.testing import SERVABLE, ScriptedServer
from seqserve.v1 import common_pb2, tagging_pb2

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, address: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", address],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_generate(server: ScriptedServer) -> None:
    ended = run("generate", server.target)
    assert (ended.stdout, ended.stderr) == ("ROMEO:\n", "LENGTH: 6 tokens, seed 7\n")


def test_tag(server: ScriptedServer) -> None:
    ended = run("tag", server.target)
    assert "Time/X flies/X" in ended.stdout
    assert "Words/X that/X" in ended.stdout


def test_session(server: ScriptedServer) -> None:
    ended = run("session", server.target)
    assert ended.stderr == ""
    assert "ROMEO:\nROMEO:\n\n\nJULIET:\nJULIET:\n" in ended.stdout
    assert "44 tokens so far" in ended.stdout
    assert "first ending: YesJULIET:\nYes" in ended.stdout
    assert server.sessions.kept == {}


async def find_names(
    requests: AsyncIterator[tagging_pb2.StreamTagRequest],
) -> AsyncGenerator[tagging_pb2.StreamTagResponse, None]:
    """Words with a capital that end in a are names; each is known to end with the word after it."""
    yield tagging_pb2.StreamTagResponse(started=tagging_pb2.StreamTagStarted(servable=SERVABLE))
    text = "".join([request.text async for request in requests])
    spans = list[tagging_pb2.TagSpan]()
    for word in re.finditer(r"\w+|\S", text):
        place = common_pb2.Offsets(start=word.start(), end=word.end())
        named = word[0].istitle() and word[0].endswith("a")
        tag = tagging_pb2.Tag(token=word[0], label="B-PER" if named else "O", offsets=place)
        yield tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece(tags=[tag], spans=spans))
        spans = [tagging_pb2.TagSpan(label="PER", text=word[0], offsets=place)] if named else []
    yield tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece(spans=spans))
    yield tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished())


def redact(*arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(EXAMPLES / "redact.py"), *arguments]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )


def test_redact(server: ScriptedServer, tmp_path: Path) -> None:
    server.on_stream_tag = find_names
    text = "Then Ada, and  Grété told Zoa\nof  国. Eva"
    ended = redact("names", "--server", server.target, "--lookahead", "1", text=text)
    assert (ended.stdout, ended.stderr) == ("Then [PER], and  Grété told [PER]\nof  国. [PER]", "")
    config = server.requests[0].config
    assert (config.model.name, config.lookahead, config.outputs.spans) == ("names", 1, True)
    file = tmp_path / "text"
    file.write_text(text, encoding="utf-8")
    ended = redact("names", str(file), "--server", server.target, "--labels", "ORG,LOC")
    assert ended.stdout == text


def test_redact_without_a_server_says_so() -> None:
    ended = redact("names", "--server", "127.0.0.1:1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "no server answers at 127.0.0.1:1: is seqserve-server running there?\n"


@pytest.mark.parametrize("name", ["generate", "session", "tag"])
def test_without_a_server_they_say_so(name: str) -> None:
    ended = run(name, "127.0.0.1:1")
    assert ended.returncode == 1
    assert ended.stderr == "no server answers at 127.0.0.1:1: is seqserve-server running there?\n"


def test_demo_streams_and_tags(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    demo = load("demo")
    demo.stream_a_text(server.target)
    demo.run_command(server.target, "tag", demo.TAGGER, demo.SENTENCE)
    out = capsys.readouterr().out
    assert f"$ seqserve --server {server.target} generate shakespeare-char ROMEO: --max-tokens 300" in out
    assert "ROMEO:ROMEO:\n\n6 tokens, 600 tokens/s, first token after 2.0 ms" in out
    assert f'tag english-pos "{demo.SENTENCE}"' in out


STAND_IN = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("seqserve ready on 127.0.0.1:1234 with 2 models (a, b)", flush=True)
signal.sigwait({signal.SIGTERM})
sys.exit(EXIT)
"""


def start_with(demo: ModuleType, program: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The demo's server, with a program of our own in place of seqserve.server."""
    real = subprocess.Popen
    monkeypatch.setattr(demo.subprocess, "Popen", lambda _, **options: real([sys.executable, "-c", program], **options))
    return demo.server(Path("models"))


def test_demo_starts_and_stops_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = load("demo")
    with start_with(demo, STAND_IN.replace("EXIT", "0"), monkeypatch) as address:
        assert address == "127.0.0.1:1234"


def test_demo_notices_a_server_that_ends_badly(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = load("demo")
    with (
        pytest.raises(demo.DemoError, match="exit code 3"),
        start_with(demo, STAND_IN.replace("EXIT", "3"), monkeypatch),
    ):
        pass


def test_demo_tells_why_a_server_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = load("demo")
    with (
        pytest.raises(demo.DemoError, match=r"did not start:\nno such folder"),
        start_with(demo, "import sys; sys.exit('no such folder')", monkeypatch),
    ):
        pass


def test_the_example_in_the_fake_runs() -> None:
    outcome = doctest.testmod(testing)
    assert outcome.attempted > 0
    assert outcome.failed == 0
