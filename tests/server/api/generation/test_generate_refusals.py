"""What Generate refuses, and how it says so."""

from __future__ import annotations

import math
from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.settings import LimitSettings
from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2, state_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import refusal
from tests.conftest import MadeRepository
from tests.server.api.generation.generating import asks, edited, generated, refused


async def test_an_empty_prompt_needs_a_start_token(made: MadeRepository, root: Path) -> None:
    def starts_with_newline(manifest: manifest_pb2.Manifest) -> None:
        manifest.vocabulary.start_token = 0

    async with (
        running_server(edited(made, root, starts_with_newline)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        for request in (asks(""), asks(token_ids=common.TokenIds()), asks("\n")):
            answer = await generated(channel, request)
            assert answer.started.prompt_tokens == 1  # the start token, and only once
            assert len(answer.ids) == 40


@pytest.mark.parametrize("request_", [asks(""), asks(token_ids=common.TokenIds())])
async def test_an_empty_prompt_is_refused_without_a_start_token(
    channel: grpc.aio.Channel, request_: pb.GenerateRequest
) -> None:
    reported = await refused(channel, request_)
    assert (reported.code, reported.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_EMPTY_PROMPT")
    assert reported.message == (
        "the prompt is empty and this model has no start token to begin with; send at least one token of text"
    )


@pytest.mark.parametrize(
    ("request_", "field", "error_text"),
    [
        (asks(sampling={"temperature": -0.1}), "sampling.temperature", "must be in [0, 100], got -0.1"),
        (asks(sampling={"temperature": math.nan}), "sampling.temperature", "must be in [0, 100], got nan"),
        (asks(sampling={"temperature": math.inf}), "sampling.temperature", "must be in [0, 100], got inf"),
        (asks(sampling={"top_p": 1.1}), "sampling.top_p", "must be in [0, 1], got 1.1"),
        (asks(sampling={"top_p": 0}), "sampling.top_p", "must be above 0, got 0"),
        (asks(sampling={"top_p": math.nan}), "sampling.top_p", "must be in [0, 1], got nan"),
        (asks(sampling={"min_p": -1}), "sampling.min_p", "must be in [0, 1], got -1"),
        (asks(sampling={"top_k": -1}), "sampling.top_k", "must be in [0, 2147483647], got -1"),
        (asks(stopping={"max_tokens": 0}), "stopping.max_tokens", "must be in [1, 100000], got 0"),
        (asks(stopping={"max_tokens": 100_001}), "stopping.max_tokens", "must be in [1, 100000], got 100001"),
        (asks(stopping={"stop": ["a", ""]}), "stopping.stop[1]", "has 0 characters; it has to have 1 to 256"),
        (asks(stopping={"stop": ["a" * 257]}), "stopping.stop[0]", "has 257 characters; it has to have 1 to 256"),
        (asks(stopping={"stop": ["a"] * 17}), "stopping.stop", "has 17 entries, at most 16"),
        (asks(stopping={"stop_token_ids": [0] * 65}), "stopping.stop_token_ids", "has 65 entries, at most 64"),
        (
            asks(stopping={"stop_token_ids": [35]}),
            "stopping.stop_token_ids",
            "[0] is 35; the vocabulary has ids 0 to 34",
        ),
        (asks(outputs=pb.GenerateOutputs(logprobs=21)), "outputs.logprobs", "must be in [0, 20], got 21"),
        (asks(token_ids=common.TokenIds(ids=[1, 35])), "token_ids.ids", "[1] is 35; the vocabulary has ids 0 to 34"),
        (asks(token_ids=common.TokenIds(ids=[-1])), "token_ids.ids", "[0] is -1; the vocabulary has ids 0 to 34"),
    ],
)
async def test_a_wrong_field_is_named_with_what_it_has_to_be(
    channel: grpc.aio.Channel, request_: pb.GenerateRequest, field: str, error_text: str
) -> None:
    reported = await refused(channel, request_)
    assert (reported.code, reported.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD")
    assert reported.field == field
    assert error_text in reported.message
    assert reported.message.startswith(field)


async def test_a_character_that_the_model_does_not_know_is_named(channel: grpc.aio.Channel) -> None:
    reported = await refused(channel, asks("the Cat"))
    assert (reported.reason, reported.field) == ("ERROR_REASON_OUT_OF_VOCABULARY", "text")
    assert reported.message.startswith("character 'C' (U+0043) at offset 4 of text is not in the model's vocabulary")
    assert reported.metadata == {"character": "C", "offset": "4"}


@pytest.mark.parametrize("request_", [asks("a" * 11), asks(token_ids=common.TokenIds(ids=[1] * 11))])
async def test_a_prompt_over_the_limit_in_tokens_is_refused(
    made: MadeRepository, root: Path, request_: pb.GenerateRequest
) -> None:
    def short(manifest: manifest_pb2.Manifest) -> None:
        manifest.limits.prompt_tokens_max = 10

    async with (
        running_server(edited(made, root, short)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        assert len((await generated(channel, asks("a" * 10))).ids) == 40
        reported = await refused(channel, request_)
    assert reported.reason == "ERROR_REASON_INPUT_TOO_LONG"
    assert reported.message == "prompt has 11 tokens, the model takes at most 10; cut it into several requests"
    assert reported.metadata == {"count": "11", "limit": "10"}


async def test_a_prompt_over_the_limit_in_bytes_is_refused(made: MadeRepository) -> None:
    limits = LimitSettings(text_bytes_max=10)
    async with (
        running_server(made.root, limits=limits) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        assert len((await generated(channel, asks("国国国a"))).ids) == 40
        reported = await refused(channel, asks("国国国aa"))
    assert (reported.reason, reported.field) == ("ERROR_REASON_INPUT_TOO_LONG", "text")
    assert reported.message == "text has 11 bytes, the server takes at most 10; cut it into several requests"


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (asks(model="lst"), grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        (asks(model=""), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        (asks(model="tagger"), grpc.StatusCode.FAILED_PRECONDITION, "TASK_MISMATCH"),
    ],
)
async def test_a_model_that_cannot_answer_is_refused(
    channel: grpc.aio.Channel, request_: pb.GenerateRequest, code: grpc.StatusCode, reason: str
) -> None:
    reported = await refused(channel, request_)
    assert (reported.code, reported.reason) == (code, f"ERROR_REASON_{reason}")


async def test_a_version_that_is_not_there_is_refused(channel: grpc.aio.Channel) -> None:
    request = asks()
    request.model.version = 7
    reported = await refused(channel, request)
    assert (reported.reason, reported.resource) == ("ERROR_REASON_VERSION_NOT_FOUND", ("model version", "lstm/7"))


TO_SESSION = state_pb2.StateOptions(session_id="s", create_if_absent=True)
TO_SNAPSHOT = state_pb2.StateOptions(destination=state_pb2.STATE_DESTINATION_SNAPSHOT)
ONE = [common.TokenIds(ids=[1])]


@pytest.mark.parametrize(
    ("request_", "field", "error_text"),
    [
        (asks(sampling={"n": 2}, state=TO_SESSION), "state.destination", "n is 2, but a session is one sequence"),
        (asks(sampling={"beam_width": 2}, state=TO_SESSION), "state.destination", "a beam search leaves no state"),
        (asks(sampling={"beam_width": 2}, state=TO_SNAPSHOT), "state.destination", "a beam search leaves no state"),
        (
            asks(sampling={"beam_width": 2}, resume=pb.ResumePoint(seed=1, received=ONE)),
            "resume.received",
            "tell nothing before their end",
        ),
        (
            asks(sampling={"best_of": 2}, resume=pb.ResumePoint(seed=1, received=ONE)),
            "resume.received",
            "tell nothing before their end",
        ),
        (asks(resume=pb.ResumePoint(seed=2)), "sampling.seed", "is 1, but the resumed generation has seed 2"),
        (asks(resume=pb.ResumePoint(seed=1, received=ONE * 2)), "resume.received", "has 2 entries for 1 samples"),
        (
            asks(resume=pb.ResumePoint(seed=1, received=[common.TokenIds(ids=[1, 35])])),
            "resume.received[0].ids",
            "[1] is 35; the vocabulary has ids 0 to 34",
        ),
        (
            asks(resume=pb.ResumePoint(seed=1, received=[common.TokenIds(ids=[1] * 41)])),
            "resume.received[0].ids",
            "has 41 tokens, but the answer ends with the first 40 of them",
        ),
    ],
)
async def test_what_a_state_or_a_broken_stream_cannot_be_is_refused_by_name(
    channel: grpc.aio.Channel, request_: pb.GenerateRequest, field: str, error_text: str
) -> None:
    reported = await refused(channel, request_)
    assert (reported.code, reported.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD")
    assert reported.field == field
    assert error_text in reported.message


async def test_a_refused_request_creates_no_session(channel: grpc.aio.Channel) -> None:
    for request in (asks("", state=TO_SESSION), asks("The", state=TO_SESSION)):
        await refused(channel, request)
        request.state.create_if_absent = False
        assert (await refused(channel, request)).reason == "ERROR_REASON_SESSION_NOT_FOUND"


async def test_several_texts_cannot_be_scored_from_one_state(channel: grpc.aio.Channel) -> None:
    texts = [pb.ScoreInput(text="the"), pb.ScoreInput(text="cat")]
    request = pb.ScoreRequest(model=common.ModelRef(name="lstm"), inputs=texts, state=TO_SESSION)
    reported = await refusal(GenerationServiceStub(channel).Score(request))
    assert (reported.reason, reported.field) == ("ERROR_REASON_INVALID_FIELD", "inputs")
    assert reported.message == "inputs has 2 texts, but a state is of one sequence; send one text, or no state"
