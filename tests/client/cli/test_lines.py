"""The commands about a text that comes line by line: what they send, and what they print as it comes."""

import io
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.client import TagSpan
from seqserve.client.cli.line_reader import LineReader
from seqserve.client.cli.lines import Lines
from seqserve.client.testing import SERVABLE, Failure, ScriptedServer, score_as_it_comes
from seqserve.v1 import common_pb2, generation_pb2, tagging_pb2
from tests.client.rig import Run, lines_of

Typed = Callable[[str], None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Puts a text on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "200"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(out: str) -> list[str]:
    """What stays on a terminal, without colours and what was erased."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out)
    return [line.split("\r")[-1].rstrip() for line in plain.split("\n") if line.strip()]


def test_tag_prints_a_row_a_line(
    run: Run, server: ScriptedServer, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("two words\n\n  [bold] text \nlast")
    assert run("tag", "m", "-", "--version", "2") == 0
    assert capsys.readouterr().out == "two/X words/X\n[bold]/X text/X\nlast/X\n"
    config = server.requests[0].config
    assert (config.model.version, config.sentence_rule) == (2, tagging_pb2.SENTENCE_RULE_NEWLINE)
    assert [request.text for request in server.requests[1:]] == ["two words\n", "\n", "  [bold] text \n", "last"]


def test_tag_passes_on_when_tags_are_final(run: Run, server: ScriptedServer, typed: Typed) -> None:
    typed("")
    options = ["--lookahead", "0", "--provisional", "--sentence-rule", "punctuation", "--spans", "--top", "3"]
    assert run("tag", "m", "-", *options) == 0
    config = server.requests[0].config
    assert (config.lookahead, config.finality) == (0, tagging_pb2.TAG_FINALITY_LOOKAHEAD)
    assert (config.provisional, config.outputs.spans, config.outputs.top_labels) == (True, True, 3)
    assert config.sentence_rule == tagging_pb2.SENTENCE_RULE_PUNCTUATION


def test_tag_as_json_prints_an_event_a_line(run: Run, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    typed("a b\nc\n")
    assert run("tag", "m", "-", "--json") == 0
    started, *tags, finished = lines_of(capsys.readouterr().out)
    assert (started["event"], started["servable"]["model"]) == ("started", "scripted")
    assert [(tag["event"], tag["token"], tag["start"]) for tag in tags] == [
        ("tag", "a", 0),
        ("tag", "b", 2),
        ("tag", "c", 4),
    ]
    assert (finished["event"], finished["tokens"], finished["reason"]) == ("finished", 3, "INPUT")


async def find_ada(
    requests: AsyncIterator[tagging_pb2.StreamTagRequest],
) -> AsyncGenerator[tagging_pb2.StreamTagResponse, None]:
    """ "Ada King met." and "Then": provisional tags first, and the span late."""

    def tag(token: str, label: str, start: int, position: int, *, provisional: bool = False) -> tagging_pb2.Tag:
        place = common_pb2.Offsets(start=start, end=start + len(token))
        top = [common_pb2.LabelScore(label="B-LOC", score=0.25)] if token == "Ada" else []
        return tagging_pb2.Tag(
            token=token, label=label, offsets=place, position=position, provisional=provisional, top=top
        )

    final = [tag("Ada", "B-PER", 0, 0), tag("King", "I-PER", 4, 1), tag("met.", "O", 9, 2)]
    span = tagging_pb2.TagSpan(label="PER", text="Ada King", offsets=common_pb2.Offsets(start=0, end=8))
    async for _ in requests:  # all of them, so that the lines are known
        pass
    yield tagging_pb2.StreamTagResponse(started=tagging_pb2.StreamTagStarted(servable=SERVABLE))
    for tags, spans in (
        ([tag("Ada", "O", 0, 0, provisional=True)], []),
        (final[:2], []),
        ([tag("met.", "O", 9, 2, provisional=True)], []),
        (final[2:], []),
        ([], [span]),
        ([tag("Then", "O", 14, 3, provisional=True)], []),
        ([tag("Then", "O", 14, 3)], []),
    ):
        yield tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece(tags=tags, spans=spans))
    yield tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished(tokens=4))


ROWS = ["Ada/B-PER|B-LOC 0.250 King/I-PER met./O", "  PER Ada King (0-8)", "Then/O"]


def test_tag_shows_spans_under_their_line_and_final_tags_once(
    run: Run, server: ScriptedServer, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on_stream_tag = find_ada
    typed("Ada King met.\nThen\n")
    assert run("tag", "m", "-", "--spans", "--provisional") == 0
    assert capsys.readouterr().out.splitlines() == ROWS


@pytest.mark.usefixtures("terminal")
def test_tag_on_a_terminal_is_in_colour_and_grows(
    run: Run, server: ScriptedServer, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on_stream_tag = find_ada
    typed("Ada King met.\nThen\n")
    assert run("tag", "m", "-", "--spans", "--provisional") == 0
    out = capsys.readouterr().out
    assert "\x1b[2m/O\x1b[0m" in out, "a provisional label is dim"
    assert shown(out) == ROWS


def test_score_prints_the_surprise_of_each_line(
    run: Run, server: ScriptedServer, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("ab c\n\n[x]\nend")
    assert run("score", "m", "-", "--version", "2") == 0
    assert capsys.readouterr().out == "1.0000\tab c\n1.0000\t[x]\n1.0000\tend\n"
    assert [request.text for request in server.requests[1:]] == ["ab c\n", "\n", "[x]\n", "end"]
    assert server.requests[0].config.model.version == 2


def test_score_as_json_prints_a_line_a_line(run: Run, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    typed("ab\nc\n")
    assert run("score", "m", "-", "--json") == 0
    assert lines_of(capsys.readouterr().out) == [
        {"text": "ab", "surprise": 1.0, "scored_tokens": 2, "tokens": [], "unseen": None},
        {"text": "c", "surprise": 1.0, "scored_tokens": 1, "tokens": [], "unseen": None},
    ]
    typed("ab\n")
    assert run("score", "m", "-", "--json", "--tokens") == 0
    (only,) = lines_of(capsys.readouterr().out)
    assert [token["chosen"]["token"] for token in only["tokens"]] == ["a", "b"]


def test_score_shows_each_token(run: Run, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    typed("ab\n")
    assert run("score", "m", "-", "--tokens") == 0
    assert capsys.readouterr().out == "1.0000\tab\n\t'a'\t-1.0000\t1\n\t'b'\t-1.0000\t1\n"


@pytest.mark.usefixtures("terminal")
def test_score_on_a_terminal_marks_the_least_likely(run: Run, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    typed("abcdef\n")
    assert run("score", "m", "-") == 0
    out = capsys.readouterr().out
    assert re.findall(r"\x1b\[1;31m(.+?)\x1b\[0m", out) == ["a", "b", "c"]
    assert shown(out) == ["  1.00  abcdef"]


@pytest.mark.parametrize("command", ["tag", "score", "classify"])
def test_a_text_that_comes_stands_alone(command: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "m", "text", "-") == 2
    assert "must be the only TEXT" in capsys.readouterr().err


def test_options_of_lines_are_refused_for_texts(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tag", "m", "text", "--lookahead", "1") == 2
    assert "are for -" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["tag", "score", "classify"])
def test_a_refusal_is_told_while_standard_input_is_open(command: str, server: ScriptedServer) -> None:
    async def refuse(requests: AsyncIterator[object]) -> AsyncGenerator[object, None]:
        raise Failure(grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_TASK_MISMATCH", "it does something else")
        yield

    server.on_stream_tag = server.on_stream_score = server.on_stream_classify = refuse  # type: ignore[assignment]
    reading, writing = os.pipe()
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "seqserve.client", "--server", server.target, command, "m", "-"],
            stdin=reading,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        "seqserve: it does something else",
        "hint: seqserve models tells what each model does",
    ]


@given(
    st.lists(st.text("ab \n", max_size=12)),
    st.integers(1, 4),
)
def test_every_answer_is_told_with_its_line(texts: list[str], width: int) -> None:
    """Whatever the lines are, and wherever the answers are cut; those about blanks at an end are dropped."""
    given_lines = io.StringIO("\n".join(texts), newline="\n").readlines()
    whole = "".join(given_lines)
    lines = Lines[TagSpan](given_lines)
    assert list(lines) == given_lines
    outcome = list[tuple[str, str]]()
    position = 0
    for line in given_lines:
        for start in range(0, len(line), width):
            at, end = position + start, position + min(start + width, len(line))
            answer = TagSpan("X", whole[at:end], 1.0, at, end, 0, 0)
            outcome += [(line.text, "".join(one.text for one in own)) for line, own in lines.answered(answer)]
        position += len(line)
    outcome += [(line.text, "".join(one.text for one in own)) for line, own in lines.rest()]
    assert [text for text, _ in outcome] == [line.rstrip("\n") for line in given_lines if line.strip()]
    assert all(answers.startswith(text.rstrip()) for text, answers in outcome)


def test_classify_prints_the_running_answer(
    run: Run, server: ScriptedServer, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("one two\n\nthree\n")
    assert run("classify", "m", "-", "--version", "2", "--top", "1") == 0
    rows = capsys.readouterr().out.splitlines()
    assert (rows[0], rows[-1]) == ("2\tX 1.000", "3\tX 1.000")
    kinds = [request.WhichOneof("message") for request in server.requests]
    assert kinds == ["config", "text", "flush", "text", "text", "flush"]
    assert (server.requests[0].config.model.version, server.requests[0].config.top_labels) == (2, 1)
    typed("one two")
    assert run("classify", "m", "-", "--json") == 0
    assert [answer["chosen"] for answer in lines_of(capsys.readouterr().out)] == [["X"], ["X"]]


@pytest.mark.parametrize(
    "text", ["\ufeffone two\r\nthree\r\n", "one two\r\nthree", "\ufeffone two\nthree\n", "\ufeff\r\none two\nthree\r\n"]
)
def test_byte_order_marks_and_carriage_returns_are_not_text(
    text: str, server: ScriptedServer, run: Run, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("tag", "score", "classify"):
        typed(text)
        assert run(command, "m", "-") == 0
    typed(text)
    assert run("generate", "m", "-") == 0
    for command in ("score", "classify", "fill"):
        typed(text)
        assert run(command, "m", "-", *(["--each"] if command != "fill" else [])) == 0
    typed(text)
    assert run("chat", "m") == 0
    out = capsys.readouterr().out
    sent = "".join(str(request) for request in server.requests)
    assert "one two" in out
    for absent in ("\ufeff", "\r", "\\r", "\\357\\273\\277"):
        assert absent not in out
        assert absent not in sent


KNOWN = set("abcdefghijklmnopqrstuvwxyz \n")


def knows_letters(server: ScriptedServer, *, with_offset: bool = True) -> None:
    """Lets the server score small letters only, as a model of characters without an unknown token does."""

    async def script(
        requests: AsyncIterator[generation_pb2.StreamScoreRequest],
    ) -> AsyncGenerator[generation_pb2.StreamScoreResponse, None]:
        position = 0
        unseen: tuple[str, int] | None = None

        async def known() -> AsyncIterator[generation_pb2.StreamScoreRequest]:
            nonlocal position, unseen
            async for request in requests:
                for offset, character in enumerate(request.text):
                    if character not in KNOWN:
                        unseen = character, position + offset
                        yield generation_pb2.StreamScoreRequest(text=request.text[:offset])
                        return
                position += len(request.text)
                yield request

        async for event in score_as_it_comes(known()):
            if unseen is not None and event.HasField("finished"):
                character, offset = unseen
                metadata = {"character": character, "offset": str(offset)} if with_offset else {}
                raise Failure(
                    grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_OUT_OF_VOCABULARY", "unseen", metadata=metadata
                )
            yield event

    server.on_stream_score = script


@pytest.mark.parametrize("with_offset", [True, False])
def test_a_log_is_followed_past_unseen_characters(
    with_offset: bool, server: ScriptedServer, run: Run, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    knows_letters(server, with_offset=with_offset)
    typed("all well\n\nfrüh\nstill well\n5 errors\n\n\nQ\nthe end")
    assert run("score", "m", "-") == 0
    new = (
        ("new: 'ü' (U+00FC)", "new: '5' (U+0035)", "new: 'Q' (U+0051)")
        if with_offset
        else (("new: a token that is not in the vocabulary",) * 3)
    )
    assert capsys.readouterr().out.splitlines() == [
        "1.0000\tall well",
        f"inf\tfrüh\t{new[0]}",
        "1.0000\tstill well",
        f"inf\t5 errors\t{new[1]}",
        f"inf\tQ\t{new[2]}",
        "1.0000\tthe end",
    ]


def test_unseen_characters_in_json_and_on_a_terminal(
    server: ScriptedServer, run: Run, typed: Typed, capsys: pytest.CaptureFixture[str], terminal: None
) -> None:
    knows_letters(server)
    typed("ok\nfrüh\nok\n")
    assert run("score", "m", "-", "--json") == 0
    rows = lines_of(capsys.readouterr().out)
    assert [(row["text"], row["unseen"], row["scored_tokens"]) for row in rows] == [
        ("ok", None, 2),
        ("früh", "ü", 2),
        ("ok", None, 2),
    ]
    typed("ok\nfrüh\nok\n")
    assert run("score", "m", "-") == 0
    assert shown(capsys.readouterr().out)[1].endswith("früh  new: 'ü' (U+00FC)")


def test_other_failures_still_end_a_followed_log(
    server: ScriptedServer, run: Run, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    async def script(
        requests: AsyncIterator[generation_pb2.StreamScoreRequest],
    ) -> AsyncGenerator[generation_pb2.StreamScoreResponse, None]:
        raise Failure(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_MODEL_NOT_FOUND", "no model 'm'")
        yield generation_pb2.StreamScoreResponse()

    server.on_stream_score = script
    typed("ok\n")
    assert run("score", "m", "-") == 1
    assert "no model 'm'" in capsys.readouterr().err


def test_lines_that_a_broken_stream_took_are_not_lost() -> None:
    reader = LineReader(["a\n", "\n", "b\n", "c\n"])
    first = reader.follow()
    assert [next(first) for _ in range(3)] == ["a\n", "\n", "b\n"]
    reader.acknowledge()
    assert reader.position == 2
    assert reader.stop() == ["\n", "b\n"]
    assert list(first) == [], "it ended with the stream"
    reader.put_back(["b\n"])
    assert list(reader.follow()) == ["b\n", "c\n"]
