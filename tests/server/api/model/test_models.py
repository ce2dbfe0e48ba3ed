from __future__ import annotations

import shutil
from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.model.manifest import read_manifest
from seqserve.server.settings import BatchSettings, LimitSettings
from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2
from seqserve.v1 import model_pb2 as pb
from seqserve.v1.model_pb2_grpc import ModelServiceStub
from tests.calls import refusal
from tests.conftest import MadeRepository


async def test_every_version_is_listed_in_order_of_name_and_version(channel: grpc.aio.Channel) -> None:
    answer = await ModelServiceStub(channel).ListModels(pb.ListModelsRequest())
    assert [(model.servable.model, model.servable.version) for model in answer.models] == [
        ("gru", 1),
        ("lstm", 1),
        ("tagger", 1),
    ]
    assert {model.state for model in answer.models} == {pb.MODEL_STATE_READY}
    assert {model.provider for model in answer.models} <= {"CPUExecutionProvider", "CUDAExecutionProvider"}
    assert [model.task for model in answer.models] == [
        manifest_pb2.TASK_LANGUAGE_MODEL,
        manifest_pb2.TASK_LANGUAGE_MODEL,
        manifest_pb2.TASK_TAGGING,
    ]
    assert all(model.load_time.seconds for model in answer.models)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_pages_together_are_the_whole_list(channel: grpc.aio.Channel, size: int) -> None:
    stub, names, token = ModelServiceStub(channel), list[str](), ""
    while True:
        answer = await stub.ListModels(pb.ListModelsRequest(page_size=size, page_token=token))
        assert 1 <= len(answer.models) <= size
        names += [model.servable.model for model in answer.models]
        if not (token := answer.next_page_token):
            break
    assert names == ["gru", "lstm", "tagger"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListModelsRequest(page_size=0), "page_size"),
        (pb.ListModelsRequest(page_size=1001), "page_size"),
        (pb.ListModelsRequest(page_token="two"), "page_token"),
        (pb.ListModelsRequest(page_token="-1"), "page_token"),
        (pb.ListModelsRequest(page_token="9" * 5000), "page_token"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(
    channel: grpc.aio.Channel, request_: pb.ListModelsRequest, field: str
) -> None:
    reported = await refusal(ModelServiceStub(channel).ListModels(request_))
    assert (reported.reason, reported.field) == ("ERROR_REASON_INVALID_FIELD", field)


async def test_a_version_tells_its_manifest_and_the_limits_of_the_server(made: MadeRepository) -> None:
    settings = {"limits": LimitSettings(text_bytes_max=77, inputs_max=5), "batch": BatchSettings(queue_depth_max=6)}
    async with running_server(made.root, **settings) as address, grpc.aio.insecure_channel(address) as channel:
        answer = await ModelServiceStub(channel).GetModel(pb.GetModelRequest(model=common.ModelRef(name="lstm")))
    assert answer.manifest == read_manifest(made.lstm.folder)
    assert answer.model.servable.digest == answer.manifest.graph.sha256
    assert (answer.limits.text_bytes_max, answer.limits.inputs_max, answer.limits.queue_depth_max) == (77, 5, 6)


async def test_a_broken_version_is_told_with_its_reason(made: MadeRepository, root: Path) -> None:
    shutil.copytree(made.root, root, dirs_exist_ok=True)
    (root / "gru" / "1" / "model.onnx").unlink()
    async with running_server(root) as address, grpc.aio.insecure_channel(address) as channel:
        stub = ModelServiceStub(channel)
        listed = await stub.ListModels(pb.ListModelsRequest())
        reported = await stub.GetModel(pb.GetModelRequest(model=common.ModelRef(name="gru", version=1)))
    assert [model.state for model in listed.models] == [
        pb.MODEL_STATE_BROKEN,
        pb.MODEL_STATE_READY,
        pb.MODEL_STATE_READY,
    ]
    assert reported.model == listed.models[0]
    assert reported.model.reason == "model.onnx is missing; export the servable again"
    assert not reported.model.provider


@pytest.mark.parametrize(
    ("model", "reason", "error_text"),
    [
        (common.ModelRef(name="lst"), "MODEL_NOT_FOUND", "unknown model 'lst'; did you mean 'lstm'?"),
        (common.ModelRef(name="lstm", version=2), "VERSION_NOT_FOUND", "model 'lstm' has no version 2; available: 1"),
        (common.ModelRef(), "INVALID_FIELD", "model.name is empty; name the model"),
        (common.ModelRef(name="lstm", version=0), "INVALID_FIELD", "model.version is 0; versions begin at 1"),
        (common.ModelRef(name="x" * 129), "INVALID_FIELD", "model.name has 129 characters; names have at most 128"),
    ],
)
async def test_a_model_that_is_not_there_is_told_with_the_way_out(
    channel: grpc.aio.Channel, model: common.ModelRef, reason: str, error_text: str
) -> None:
    reported = await refusal(ModelServiceStub(channel).GetModel(pb.GetModelRequest(model=model)))
    assert (reported.reason, reported.message) == (f"ERROR_REASON_{reason}", error_text)
    if reported.code is grpc.StatusCode.NOT_FOUND:
        assert reported.resource == (("model version", "lstm/2") if model.version else ("model", "lst"))
    else:
        assert reported.field.startswith("model.")
