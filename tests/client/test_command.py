"""The command seqserve: what it prints, where, and with which exit code."""

import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
import pytest

from seqserve.client import FieldViolation
from seqserve.client.__main__ import main
from seqserve.client.testing import Failure, ScriptedServer, finished, piece, started
from seqserve.v1 import common_pb2, generation_pb2, model_pb2, tagging_pb2

Run = Callable[..., int]


@pytest.fixture
def run(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command against the scripted server, which it finds by the environment."""
    monkeypatch.setenv("SEQSERVE_SERVER", server.target)
    return lambda *arguments: main(arguments)


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def refuses(failure: Failure) -> Any:
    async def refuse(request: Any) -> Any:
        raise failure

    return refuse


def test_generate_prints_the_text_alone(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", "m", "To be") == 0
    assert capsys.readouterr() == ("To be\n", "")


def test_generate_echoes_the_prompt_if_asked(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("generate", "m", "ab", "--echo")
    assert capsys.readouterr().out == "abab\n"


def test_generate_reads_the_prompt_from_standard_input(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("piped\n"))
    run("generate", "m", "-")
    assert capsys.readouterr().out == "piped\n\n"


def test_generate_sends_its_options(run: Run, server: ScriptedServer) -> None:
    run("generate", "m", "--max-tokens=9", "--temperature=0", "--top-k=3", "--top-p=0.5", "--min-p=0.1", "--seed=4")
    run("generate", "m", "--stop", r"\n\n", "--stop", "END", "--min-tokens=1", "--version=2", "--ignore-eos")
    first, second = server.requests
    assert (first.stopping.max_tokens, first.sampling.temperature, first.sampling.seed) == (9, 0.0, 4)
    assert (first.sampling.top_k, first.sampling.top_p, first.sampling.min_p) == (3, 0.5, pytest.approx(0.1))
    assert list(second.stopping.stop) == ["\n\n", "END"]
    assert (second.stopping.min_tokens, second.model.version, second.stopping.ignore_eos) == (1, 2, True)
    assert not second.HasField("sampling")
    assert second.WhichOneof("prompt") is None


def test_generate_sends_every_sampling_option(run: Run, server: ScriptedServer) -> None:
    run("generate", "m", "--repetition-penalty=1.5", "--presence-penalty=0.5", "--frequency-penalty=-0.25", "--n=2")
    run("generate", "m", "--best-of=3", "--prompt-logprobs=0", "--priority=-7")
    run("generate", "m", "--beam-width=4", "--length-penalty=0.5")
    penalties, ranked, beams = server.requests
    sampling, model = generation_pb2.SamplingParams, common_pb2.ModelRef(name="m")
    assert penalties == generation_pb2.GenerateRequest(
        model=model,
        sampling=sampling(repetition_penalty=1.5, presence_penalty=0.5, frequency_penalty=-0.25, n=2),
    )
    assert ranked == generation_pb2.GenerateRequest(
        model=model,
        sampling=sampling(best_of=3),
        outputs=generation_pb2.GenerateOutputs(prompt_logprobs=0),
        priority=-7,
    )
    assert beams == generation_pb2.GenerateRequest(model=model, sampling=sampling(beam_width=4, length_penalty=0.5))


def test_generate_prints_samples_one_after_another(
    run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def two(request: generation_pb2.GenerateRequest) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
        token = common_pb2.TokenLogprob(token="x", logprob=-0.5, rank=1)
        yield started()
        for sample, text in ((1, "x"), (0, "a"), (1, "y")):
            event = piece(text, sample=sample)
            event.piece.logprobs.add(chosen=token)
            yield event
        last = finished(2, samples=2)
        last.finished.samples[1].logprob = -1.5
        yield last

    server.on_generate = two
    first, second = "== sample 0: LENGTH, 2 tokens ==\n", "== sample 1: LENGTH, 2 tokens, -1.5000 nats ==\n"
    assert run("generate", "m", "p", "--n", "2", "--echo") == 0
    assert capsys.readouterr().out == f"{first}pa\n{second}pxy\n"
    assert run("generate", "m", "p", "--n", "2", "--logprobs", "0") == 0
    assert capsys.readouterr().out == f"{first}{line}{second}{line}{line}" if (line := "'x'\t-0.5000\n") else None


def test_generate_prints_the_prompts_log_probabilities_before_the_text(
    run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scored(request: generation_pb2.GenerateRequest) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
        token = common_pb2.TokenLogprob(token="p", logprob=-0.5, rank=1)
        first = started()
        first.started.prompt_logprobs.add(chosen=token, top=[token])
        yield first
        yield piece("text")
        yield finished(4)

    server.on_generate = scored
    assert run("generate", "m", "pp", "--prompt-logprobs", "1") == 0
    assert capsys.readouterr().out == "'p'\t-0.5000\t'p' -0.5000\n\ntext\n"


def test_generate_as_json_prints_an_event_a_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", "m", "ñ☃", "--json", "--seed", "5") == 0
    start, *pieces, end = lines_of(capsys.readouterr().out)
    assert (start["event"], start["seed"], start["servable"]["version"]) == ("started", 5, 1)
    assert [(one["event"], one["text"]) for one in pieces] == [("piece", "ñ"), ("piece", "☃")]
    assert (end["event"], end["samples"][0]["reason"], end["state"]["position"]) == ("finished", "LENGTH", 4)


def test_json_carries_bytes_and_times(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    async def with_state(
        request: generation_pb2.GenerateRequest,
    ) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
        yield started()
        last = finished(0)
        last.finished.state.snapshot = b"\x00\xff"
        last.finished.state.expire_time.FromSeconds(0)
        yield last

    server.on_generate = with_state
    run("generate", "m", "--json")
    state = lines_of(capsys.readouterr().out)[-1]["state"]
    assert (state["snapshot"], state["expire_time"]) == ("AP8=", "1970-01-01T00:00:00+00:00")


def test_log_probabilities_are_a_line_a_token(
    run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scored(request: generation_pb2.GenerateRequest) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
        yield started()
        event = piece("\n")
        token = common_pb2.TokenLogprob(token="\n", logprob=-0.25, rank=1)
        event.piece.logprobs.append(common_pb2.StepLogprobs(chosen=token, top=[token]))
        yield event
        yield finished(1)

    server.on_generate = scored
    assert run("generate", "m", "--logprobs", "1") == 0
    assert capsys.readouterr().out == "'\\n'\t-0.2500\t'\\n' -0.2500\n"


def test_a_text_that_the_server_ended_early_is_no_success(
    run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def late(request: generation_pb2.GenerateRequest) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
        yield started()
        last = finished(0, samples=2)
        last.finished.samples[1].reason = generation_pb2.FINISH_REASON_DEADLINE
        yield last

    server.on_generate = late
    assert run("generate", "m") == 1
    assert "ended the text early: DEADLINE" in capsys.readouterr().err


def test_tag_prints_a_table(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tag", "m", "[bold] text") == 0
    out = capsys.readouterr().out
    assert [word for word in ("token", "tag", "score", "[bold]", "text", "0.500") if word not in out] == []


def test_tag_as_json_prints_a_text_a_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tag", "m", "a b", "c", "--json") == 0
    first, second = lines_of(capsys.readouterr().out)
    assert (first["text"], [tag["token"] for tag in first["tags"]]) == ("a b", ["a", "b"])
    assert second["tags"][0]["label"] == "X"


def test_tag_reads_standard_input_in_batches(
    run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(f"line {index}\n" for index in range(100))))
    assert run("tag", "m", "-", "--json") == 0
    assert [one["text"] for one in lines_of(capsys.readouterr().out)] == [f"line {index}" for index in range(100)]
    assert [len(request.inputs) for request in server.requests] == [64, 36]


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


def cells(table: str) -> list[list[str]]:
    """The rows of a table, without its lines."""
    rows = [line.replace("┃", "│").split("│")[1:-1] for line in table.splitlines()]
    return [[cell.strip() for cell in row] for row in rows if row]


def test_score_prints_a_table(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", "m", "[bold] x", "ab", "--version=2") == 0
    assert cells(capsys.readouterr().out) == [
        ["text", "nats", "tokens", "perplexity"],
        ["[bold] x", "-8.0000", "8", "2.7183"],
        ["ab", "-2.0000", "2", "2.7183"],
    ]
    inputs = [generation_pb2.ScoreInput(text=text) for text in ("[bold] x", "ab")]
    asked = generation_pb2.ScoreRequest(model=common_pb2.ModelRef(name="m", version=2), inputs=inputs)
    assert server.requests == [asked]


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
    assert run("score", "m", "first", "-", "--json") == 0
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


def test_models_prints_a_table_or_lines(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    out = capsys.readouterr().out
    assert "language model" in out
    assert "why not" not in out
    assert run("models", "--json") == 0
    assert lines_of(capsys.readouterr().out)[0]["state"] == "READY"

    async def none(request: model_pb2.ListModelsRequest) -> model_pb2.ListModelsResponse:
        return model_pb2.ListModelsResponse()

    server.on_list_models = none
    assert run("models") == 0
    assert capsys.readouterr().out == f"{server.target} serves no models\n"


def test_models_shows_whole_names_and_why_one_does_not_serve(
    run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    name, reason = "a-model-with-a-long-name" * 5, "the graph's sha256 is not the one in its manifest"

    async def broken(request: model_pb2.ListModelsRequest) -> model_pb2.ListModelsResponse:
        model = model_pb2.Model(state=model_pb2.MODEL_STATE_BROKEN, reason=reason)
        model.servable.model = name
        return model_pb2.ListModelsResponse(models=[model])

    server.on_list_models = broken
    assert run("models") == 0
    out = capsys.readouterr().out
    assert [words for words in (name, reason, "broken", "why not") if words not in out] == []


def test_models_tells_all_about_one(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "scripted", "--version", "1") == 0
    out = capsys.readouterr().out
    assert "CPUExecutionProvider" in out
    assert "0" * 64 in out
    assert server.requests[0].model.version == 1
    assert run("models", "scripted", "--json") == 0
    assert lines_of(capsys.readouterr().out)[0]["model"]["servable"]["model"] == "scripted"


def test_health_is_the_exit_code_too(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("health") == 0
    assert capsys.readouterr().out == "SERVING\n"
    server.serving[""] = False
    assert run("health", "--json") == 1
    assert lines_of(capsys.readouterr().out) == [{"status": "NOT_SERVING"}]


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
        (["generate", "m", "--seed", "-1"], "seed has to be in [0, 2**64), not -1"),
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
