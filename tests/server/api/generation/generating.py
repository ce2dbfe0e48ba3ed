"""What the tests of Generate ask, and what they get."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio

from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import Generated, Refusal, collect, refusal
from tests.conftest import MadeRepository
from tests.servables import edit_manifest

TOKENS_MAX = 100_000
"""generate_tokens_max of the models: more tokens than a stream can generate during a test."""


def asks(
    text: str = "the cat",
    model: str = "lstm",
    sampling: dict[str, Any] | None = None,
    stopping: dict[str, Any] | None = None,
    **fields: Any,
) -> pb.GenerateRequest:
    """A request for 40 characters with seed 1, unless told otherwise."""
    if "token_ids" not in fields:
        fields["text"] = text
    return pb.GenerateRequest(
        **{"model": common.ModelRef(name=model)} | fields,
        sampling=pb.SamplingParams(**{"seed": 1} | (sampling or {})),
        stopping=pb.StoppingParams(**{"max_tokens": 40} | (stopping or {})),
    )


async def generated(channel: grpc.aio.Channel, request: pb.GenerateRequest) -> Generated:
    return await collect(GenerationServiceStub(channel).Generate(request))


async def refused(channel: grpc.aio.Channel, request: pb.GenerateRequest) -> Refusal:
    return await refusal(GenerationServiceStub(channel).Generate(request))


def edited(made: MadeRepository, root: Path, edit: Callable[[manifest_pb2.Manifest], None]) -> Path:
    """A repository of the one model `lstm`, that says other things of itself."""
    folder = Path(shutil.copytree(made.lstm.folder, root / "lstm" / "1"))
    edit_manifest(folder, edit)
    return root
