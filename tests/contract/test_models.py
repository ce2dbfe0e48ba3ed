"""The servables that the project brings along: they are whole, proven, small, and answer."""

from __future__ import annotations

from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.model.manifest import read_manifest
from seqserve.server.testing import running_server
from seqserve.v1 import classification_pb2, generation_pb2, manifest_pb2, tagging_pb2
from seqserve.v1 import common_pb2 as common
from seqserve.v1.classification_pb2_grpc import ClassificationServiceStub
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from seqserve.v1.tagging_pb2_grpc import TaggingServiceStub
from tests.calls import collect

MODELS = Path(__file__).parents[2] / "models"
SERVABLES = sorted(path.parent for path in MODELS.glob("*/*/manifest.json"))
BYTES_MAX = 3_000_000


def name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


@pytest.mark.parametrize("folder", SERVABLES, ids=name)
def test_a_servable_is_whole_and_proven(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert max(manifest.parity.max_abs_error_outputs, manifest.parity.max_abs_error_states) <= 1e-4
    assert manifest.graph.size_bytes == (folder / "model.onnx").stat().st_size
    assert manifest.training.command.startswith("seqserve-train ")
    assert manifest.metrics
    assert all(source.license for source in manifest.training.data)


@pytest.mark.parametrize("folder", SERVABLES, ids=name)
async def test_a_servable_answers(folder: Path) -> None:
    reference = common.ModelRef(name=folder.parent.name, version=int(folder.name))
    async with running_server(MODELS) as address, grpc.aio.insecure_channel(address) as channel:
        match read_manifest(folder).task:
            case manifest_pb2.TASK_LANGUAGE_MODEL:
                call = GenerationServiceStub(channel).Generate(
                    generation_pb2.GenerateRequest(
                        model=reference, text="the ", stopping=generation_pb2.StoppingParams(max_tokens=20)
                    )
                )
                assert len((await collect(call)).text) == 20
            case manifest_pb2.TASK_TAGGING:
                request = tagging_pb2.TagRequest(model=reference, inputs=[tagging_pb2.TagInput(text="The cat sat.")])
                answer = await TaggingServiceStub(channel).Tag(request)
                assert [tag.token for tag in answer.sequences[0].tags] == ["The", "cat", "sat", "."]
            case task:
                assert task == manifest_pb2.TASK_CLASSIFICATION
                texts = ["a wonderful , moving film .", "a dull and pointless film ."]
                inputs = [classification_pb2.ClassifyInput(text=text) for text in texts]
                classify = classification_pb2.ClassifyRequest(model=reference, inputs=inputs)
                found = await ClassificationServiceStub(channel).Classify(classify)
                assert [each.chosen for each in found.classifications] == [["positive"], ["negative"]]


def test_all_of_them_are_small_together() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) <= BYTES_MAX
