"""The commands seqserve models and health: what they print."""

import pytest

from seqserve.client.testing import ScriptedServer
from seqserve.v1 import model_pb2
from tests.client.rig import Run, lines_of


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
