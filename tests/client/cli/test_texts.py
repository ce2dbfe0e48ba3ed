"""The commands seqserve tag and score: what they print and send."""

import io
import sys
from typing import Any

import grpc
import pytest

from seqserve.client import FieldViolation
from seqserve.client.testing import Failure, ScriptedServer
from seqserve.v1 import common_pb2, generation_pb2, tagging_pb2
from tests.client.rig import Run, cells, lines_of, refuses


def test_tag_prints_a_table(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tag", "m", "[bold] text") == 0
    out = capsys.readouterr().out
    assert [word for word in ("token", "tag", "score", "[bold]", "text", "0.500") if word not in out] == []


def test_tag_as_json_prints_a_text_a_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tag", "m", "a b", "c", "--json") == 0
    first, second = lines_of(capsys.readouterr().out)
    assert (first["text"], [tag["token"] for tag in first["tags"]]) == ("a b", ["a", "b"])
    assert second["tags"][0]["label"] == "X"


def test_tag_shows_spans_and_other_labels(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    async def with_spans(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        assert (request.outputs.spans, request.outputs.top_labels) == (True, 2)
        answer = tagging_pb2.TagResponse()
        sequence = answer.sequences.add()
        sequence.tags.add(token="Paris", label="B-LOC").top.add(label="B-PER", score=0.125)
        sequence.spans.add(label="LOC", text="Paris", offsets=common_pb2.Offsets(start=3, end=8))
        return answer

    server.on_tag = with_spans
    assert run("tag", "m", "in Paris", "--spans", "--top", "2") == 0
    out = capsys.readouterr().out
    assert [words for words in ("B-PER 0.125", "LOC", "3-8") if words not in out] == []


def test_score_prints_a_table(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", "m", "[bold] x", "ab", "--version=2") == 0
    assert cells(capsys.readouterr().out) == [
        ["text", "nats", "tokens", "perplexity"],
        ["[bold] x", "-8.0000", "8", "2.7183"],
        ["ab", "-2.0000", "2", "2.7183"],
    ]
    inputs = [generation_pb2.ScoreInput(text=text) for text in ("[bold] x", "ab")]
    expected = generation_pb2.ScoreRequest(model=common_pb2.ModelRef(name="m", version=2), inputs=inputs)
    assert server.requests == [expected]


def test_score_shows_each_token(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", "m", "a\n", "--tokens") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].rstrip() == "a", "which text the table is about"
    rows = cells(out)
    assert rows[:3] == [["token", "nats", "rank"], ["'a'", "-1.0000", "1"], [r"'\n'", "-1.0000", "1"]]
    assert rows[3] == ["text", "nats", "tokens", "perplexity"]
    assert server.requests[0].HasField("logprobs")


def test_score_as_json_prints_a_text_a_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", "m", "ab", "c", "--json") == 0
    first, second = lines_of(capsys.readouterr().out)
    assert (first["text"], first["logprob"], first["scored_tokens"], first["tokens"]) == ("ab", -2.0, 2, [])
    assert (second["text"], second["perplexity"]) == ("c", pytest.approx(2.718281828))
    assert run("score", "m", "ab", "--json", "--tokens") == 0
    (only,) = lines_of(capsys.readouterr().out)
    assert [step["chosen"]["token"] for step in only["tokens"]] == ["a", "b"]


def test_score_reads_standard_input_in_batches(
    run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(f" line {index}\n" for index in range(100))))
    assert run("score", "m", "first", "-", "--each", "--json") == 0
    texts = ["first", *(f" line {index}" for index in range(100))]
    assert [one["text"] for one in lines_of(capsys.readouterr().out)] == texts
    assert [len(request.inputs) for request in server.requests] == [64, 37]


def test_an_empty_text_is_the_servers_to_refuse(
    run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on_score = refuses(
        Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_EMPTY_PROMPT", "inputs[0] has no tokens")
    )
    assert run("score", "m", "") == 1
    assert capsys.readouterr() == ("", "seqserve: inputs[0] has no tokens\n")


@pytest.mark.parametrize("command", ["tag", "classify", "score", "fill"])
@pytest.mark.parametrize("as_json", [True, False])
def test_an_error_of_one_text_does_not_hide_the_others(
    command: str, as_json: bool, server: ScriptedServer, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"on_{command}"
    answer = getattr(server, name)

    async def script(request: Any) -> Any:
        for index, one in enumerate(request.inputs):
            if "bad" in one.text:
                violation = FieldViolation(f"inputs[{index}].text", "bad")
                raise Failure(
                    grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD", "no", violations=[violation]
                )
        return await answer(request)

    setattr(server, name, script)
    assert run(command, "m", "good", "bad", "better", *(["--json"] if as_json else [])) == 1
    out, err = capsys.readouterr()
    assert err == "seqserve: 'bad': no\n"
    assert "good" in out
    assert "better" in out
    assert run(command, "m", "bad") == 1
    assert "no" in capsys.readouterr().err
