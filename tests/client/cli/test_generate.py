"""The command seqserve generate: what it prints and sends."""

import io
import sys
from collections.abc import AsyncGenerator

import pytest

from seqserve.client.testing import ScriptedServer, finished, piece, started
from seqserve.v1 import common_pb2, generation_pb2
from tests.client.rig import Run, lines_of


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
