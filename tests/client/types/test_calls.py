"""Tag, models, model and health, through both clients."""

import datetime as dt

import pytest

from seqserve.client import AsyncClient, Client, HealthStatus, ModelState, ProtocolError, Task
from seqserve.client.testing import SERVABLE, ScriptedServer
from seqserve.v1 import common_pb2, manifest_pb2, model_pb2, tagging_pb2


def model(version: int, state: model_pb2.ModelState = model_pb2.MODEL_STATE_READY) -> model_pb2.Model:
    servable = common_pb2.ServableId(model="m", version=version)
    return model_pb2.Model(servable=servable, task=manifest_pb2.TASK_TAGGING, state=state)


async def two_pages(request: model_pb2.ListModelsRequest) -> model_pb2.ListModelsResponse:
    if not request.page_token:
        return model_pb2.ListModelsResponse(models=[model(1), model(2)], next_page_token="2")
    return model_pb2.ListModelsResponse(models=[model(3, model_pb2.MODEL_STATE_BROKEN)])


async def tag_of_everything(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
    tag = tagging_pb2.Tag(
        token="Paris",
        label="B-LOC",
        score=0.75,
        offsets=common_pb2.Offsets(start=0, end=5),
        top=[common_pb2.LabelScore(label="O", score=0.25)],
    )
    span = tagging_pb2.TagSpan(label="LOC", text="Paris", score=0.75, offsets=common_pb2.Offsets(start=0, end=5))
    return tagging_pb2.TagResponse(
        servable=SERVABLE,
        sequences=[tagging_pb2.TaggedSequence(tags=[tag], spans=[span])],
        timing=common_pb2.Timing(total_ms=3.0),
    )


def test_one_text_gives_one_answer(client: Client) -> None:
    tagged = client.tag("m", "two words")
    assert tagged.text == "two words"
    assert [(tag.token, tag.label, tag.start, tag.end, tag.position) for tag in tagged.tags] == [
        ("two", "X", 0, 3, 0),
        ("words", "X", 4, 9, 1),
    ]
    assert all(tagged.text[tag.start : tag.end] == tag.token for tag in tagged.tags)


def test_a_list_gives_a_list(client: Client) -> None:
    tagged = client.tag("m", ["one", ["of", "words"]])
    assert [one.text for one in tagged] == ["one", "of words"]
    assert len(client.tag("m", ["one"])) == 1
    assert client.tag("m", []) == []


def test_spans_labels_and_times_are_values(server: ScriptedServer, client: Client) -> None:
    server.on_tag = tag_of_everything
    tagged = client.tag("m", "Paris", spans=True, top_labels=1)
    assert (tagged.spans[0].label, tagged.spans[0].text, tagged.spans[0].end) == ("LOC", "Paris", 5)
    assert (tagged.tags[0].top[0].label, tagged.tags[0].top[0].score) == ("O", 0.25)
    assert (tagged.servable.model, tagged.timing.total_ms) == ("scripted", 3.0)


def test_fewer_answers_than_texts_are_found_out(server: ScriptedServer, client: Client) -> None:
    server.on_tag = tag_of_everything
    with pytest.raises(ProtocolError, match="answered 1 texts, 2 were sent"):
        client.tag("m", ["a", "b"])


def test_models_are_listed_over_all_pages(server: ScriptedServer, client: Client) -> None:
    server.on_list_models = two_pages
    models = client.models()
    assert [one.servable.version for one in models] == [1, 2, 3]
    assert (models[0].task, models[0].state, models[2].state) == (Task.TAGGING, ModelState.READY, ModelState.BROKEN)
    assert models[0].load_time is None


def test_a_list_without_end_is_found_out(server: ScriptedServer, client: Client) -> None:
    async def same_page(request: model_pb2.ListModelsRequest) -> model_pb2.ListModelsResponse:
        return model_pb2.ListModelsResponse(next_page_token="again")

    server.on_list_models = same_page
    with pytest.raises(ProtocolError, match="does not end"):
        client.models()


def test_a_model_tells_all_about_itself(server: ScriptedServer, client: Client) -> None:
    async def details(request: model_pb2.GetModelRequest) -> model_pb2.GetModelResponse:
        answer = model_pb2.GetModelResponse(model=model(request.model.version))
        answer.model.load_time.FromDatetime(dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
        answer.manifest.labels.names.extend(["NOUN", "VERB"])
        answer.manifest.metrics.add(name="accuracy", split="validation", value=0.95)
        answer.manifest.network.hidden_size = 200
        answer.limits.text_bytes_max = 1 << 20
        return answer

    server.on_get_model = details
    described = client.model("m", 7)
    assert described.model.servable.version == 7
    assert described.model.load_time == dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert described.labels == ("NOUN", "VERB")
    assert described.metrics == {"accuracy/validation": 0.95}
    assert described.limits.text_bytes_max == 1 << 20
    assert described.manifest["network"] == {"hidden_size": 200}


def test_health_of_the_whole_and_of_a_service(server: ScriptedServer, client: Client) -> None:
    server.serving["seqserve.v1.TaggingService"] = False
    assert client.health() is HealthStatus.SERVING
    assert client.health("seqserve.v1.TaggingService") is HealthStatus.NOT_SERVING
    assert client.health("no.such.Service") is HealthStatus.SERVICE_UNKNOWN


async def test_the_asyncio_client_answers_the_same(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    async_server.on_list_models = two_pages
    assert (await async_client.tag("m", "two words")).tags[1].token == "words"
    assert [one.text for one in await async_client.tag("m", ["a", ["b", "c"]])] == ["a", "b c"]
    assert [one.servable.version for one in await async_client.models()] == [1, 2, 3]
    assert (await async_client.model("m")).model.servable.model == "scripted"
    assert await async_client.health() is HealthStatus.SERVING
    assert await async_client.health("no.such.Service") is HealthStatus.SERVICE_UNKNOWN
