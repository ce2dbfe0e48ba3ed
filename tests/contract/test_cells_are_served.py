"""Every cell is served: what the server writes over gRPC is what the network draws in torch."""

from __future__ import annotations

from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.training.config import CellKind
from seqserve.training.evaluation.generate import Sampling, generate
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import collect
from tests.servables import MadeLanguageModel, make_language_model

TOKENS = 30
PROMPT = "a cat sat"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[CellKind, MadeLanguageModel]:
    root = tmp_path_factory.mktemp("cells")
    return {cell: make_language_model(root / str(cell), cell=cell, layers=2, hidden_size=12) for cell in CellKind}


async def test_what_is_served_is_what_torch_draws(trained: dict[CellKind, MadeLanguageModel]) -> None:
    root: Path = trained[CellKind.LSTM].folder.parent.parent
    async with running_server(root) as address, grpc.aio.insecure_channel(address) as channel:
        stub = GenerationServiceStub(channel)
        for cell, made in trained.items():
            request = pb.GenerateRequest(
                model=common.ModelRef(name=cell),
                text=PROMPT,
                sampling=pb.SamplingParams(temperature=1.0, seed=7),
                stopping=pb.StoppingParams(max_tokens=TOKENS),
            )
            served = await collect(stub.Generate(request))
            ids = made.tokenizer.encode(PROMPT).ids
            drawn = generate(made.network, ids, sampling=Sampling(), seed=7, tokens_max=TOKENS)
            assert served.ids == drawn, cell
