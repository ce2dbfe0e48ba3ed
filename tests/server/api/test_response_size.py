"""Responses that do not fit into a message: a clear error, and no state that advances without an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import state_pb2, tagging_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from seqserve.v1.tagging_pb2_grpc import TaggingServiceStub
from tests.calls import Refusal, collect, refusal

LIMIT = 1 << 16
# Of one letter a token. The first cannot fit, which is known before the work; the second only might have.
LENGTHS = [8000, 250]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.servables import make_language_model, make_tagger  # torch takes seconds to import

    root = tmp_path_factory.mktemp("sizes")
    make_language_model(root / "lm", layers=1, hidden_size=16)
    make_tagger(root / "tagger", bidirectional=False)
    return root


@pytest.fixture
async def channel(models: Path) -> AsyncIterator[grpc.aio.Channel]:
    limits, sessions = {"message_bytes_max": LIMIT}, {"snapshot_bytes_max": LIMIT // 2}
    async with (
        running_server(models, limits=limits, sessions=sessions) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield channel


def check(answer: Refusal, field: str) -> None:
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INPUT_TOO_LONG")
    assert answer.field == field
    assert f"the server sends at most {LIMIT} in one message (limits.message_bytes_max)" in answer.message


@pytest.mark.parametrize("length", LENGTHS)
async def test_no_session_advances_for_scores_that_do_not_fit(channel: grpc.aio.Channel, length: int) -> None:
    stub: Any = GenerationServiceStub(channel)
    request = pb.ScoreRequest(
        model=common.ModelRef(name="lm"),
        inputs=[pb.ScoreInput(text="t" * length)],
        logprobs=20,
        state=state_pb2.StateOptions(session_id="s", create_if_absent=True),
    )
    check(await refusal(stub.Score(request)), "logprobs")
    request.ClearField("logprobs")
    request.state.expected_position = 0
    answer = await stub.Score(request)
    assert answer.state.position == length


@pytest.mark.parametrize("length", LENGTHS)
async def test_log_probabilities_of_a_prompt_that_do_not_fit(channel: grpc.aio.Channel, length: int) -> None:
    stub: Any = GenerationServiceStub(channel)
    request = pb.GenerateRequest(
        model=common.ModelRef(name="lm"), text="t" * length, outputs=pb.GenerateOutputs(prompt_logprobs=20)
    )
    check(await refusal(collect(stub.Generate(request))), "outputs.prompt_logprobs")
    request.ClearField("outputs")
    assert (await collect(stub.Generate(request))).started.prompt_tokens == length


@pytest.mark.parametrize("characters", [16000, 8000])
async def test_tags_that_do_not_fit(channel: grpc.aio.Channel, characters: int) -> None:
    stub: Any = TaggingServiceStub(channel)
    request = tagging_pb2.TagRequest(
        model=common.ModelRef(name="tagger"), inputs=[tagging_pb2.TagInput(text="the " * (characters // 4))]
    )
    request.outputs.top_labels = 2
    check(await refusal(stub.Tag(request)), "outputs.top_labels")
