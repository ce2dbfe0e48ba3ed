"""Generate, as a caller sees it."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from seqserve.server.app import Server
from seqserve.server.counts import Counts
from seqserve.server.settings import BatchSettings, LimitSettings, ServerSettings
from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import Generated, Refusal, collect, refusal
from tests.conftest import MadeRepository
from tests.servables import ALPHABET, edit_manifest

TOKENS_MAX = 100_000
"""generate_tokens_max of the models: so many that no stream of them ends by itself while a test looks."""


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


async def test_events_tell_the_whole_course(channel: grpc.aio.Channel, made: MadeRepository) -> None:
    answer = await generated(channel, asks())
    assert answer.started.servable.model == "lstm"
    assert answer.started.servable.version == 1
    assert len(answer.started.servable.digest) == 64
    assert answer.started.seed == 1
    assert (answer.started.prompt_tokens, answer.started.position) == (7, 7)
    assert made.lstm.tokenizer.decode(answer.ids) == answer.text
    assert len(answer.ids) == 40
    assert (answer.end.reason, answer.end.tokens) == (pb.FINISH_REASON_LENGTH, 40)
    assert (answer.finished.prompt_tokens, answer.finished.generated_tokens) == (7, 40)
    assert answer.finished.state.position == 47
    timing = answer.finished.timing
    assert 0 <= timing.queue_ms <= timing.first_output_ms <= timing.total_ms


async def test_positions_of_pieces_leave_no_gap(channel: grpc.aio.Channel) -> None:
    answer = await generated(channel, asks(stopping={"max_tokens": 500}))
    position = answer.started.position
    for piece in answer.pieces:
        assert piece.position == position
        position += len(piece.token_ids)
    assert position == answer.finished.state.position == 507


@pytest.mark.parametrize("model", ["lstm", "gru"])
async def test_one_seed_gives_one_text_and_another_seed_another(channel: grpc.aio.Channel, model: str) -> None:
    first = await generated(channel, asks(model=model))
    again = await generated(channel, asks(model=model))
    other = await generated(channel, asks(model=model, sampling={"seed": 2}))
    assert first.text == again.text != other.text


async def test_a_seed_that_the_server_drew_repeats_the_text(channel: grpc.aio.Channel) -> None:
    request = asks()
    request.sampling.ClearField("seed")
    drawn = await generated(channel, request)
    again = await generated(channel, asks(sampling={"seed": drawn.started.seed}))
    assert again.text == drawn.text


async def test_greedy_text_asks_no_seed(channel: grpc.aio.Channel) -> None:
    texts = {(await generated(channel, asks(sampling={"temperature": 0, "seed": seed}))).text for seed in (1, 2, 3)}
    assert len(texts) == 1


async def test_token_ids_are_as_good_as_text(channel: grpc.aio.Channel, made: MadeRepository) -> None:
    ids = made.lstm.tokenizer.encode("the cat").ids
    by_ids = await generated(channel, asks(token_ids=common.TokenIds(ids=ids)))
    assert by_ids.text == (await generated(channel, asks())).text


async def test_token_ids_stay_away_where_they_are_not_wanted(channel: grpc.aio.Channel) -> None:
    bare = await generated(channel, asks(outputs=pb.GenerateOutputs(omit_token_ids=True)))
    assert bare.ids == []
    assert bare.text == (await generated(channel, asks())).text


async def test_what_a_request_leaves_out_comes_from_the_manifest(made: MadeRepository, root: Path) -> None:
    def greedy(manifest: manifest_pb2.Manifest) -> None:
        manifest.generation.temperature = 0
        manifest.generation.max_tokens = 9

    request = pb.GenerateRequest(model=common.ModelRef(name="lstm"), text="the cat")
    async with (
        running_server(edited(made, root, greedy)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        answer = await generated(channel, request)
        assert answer.ids == (await generated(channel, asks(sampling={"temperature": 0}))).ids[:9]


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("length", [1, 3])
async def test_a_stop_string_ends_the_text(channel: grpc.aio.Channel, length: int, include: bool) -> None:
    free = (await generated(channel, asks())).text
    stop = free[20 : 20 + length]
    at = free.index(stop)
    answer = await generated(channel, asks(stopping={"stop": ["\n\n\n\n\n", stop], "include_stop": include}))
    assert answer.text == free[:at] + stop * include
    assert (answer.end.reason, answer.end.matched_stop) == (pb.FINISH_REASON_STOP, stop)
    assert answer.end.tokens == at + length
    assert answer.finished.state.position == 7 + at + length


async def test_no_piece_holds_the_beginning_of_the_stop_string_that_ends_the_text(channel: grpc.aio.Channel) -> None:
    free = (await generated(channel, asks())).text
    stop = free[5:25]
    at = free.index(stop)
    answer = await generated(channel, asks(stopping={"stop": [stop]}))
    told = ""
    for piece in answer.pieces:
        told += piece.text
        assert free[:at].startswith(told)
    assert told == free[:at]


async def test_what_only_began_like_a_stop_string_is_told_in_the_end(channel: grpc.aio.Channel) -> None:
    free = (await generated(channel, asks())).text
    answer = await generated(channel, asks(stopping={"stop": [free[-3:] + "zzz"]}))
    assert answer.text == free


async def test_a_stop_token_ends_the_text_and_is_not_part_of_it(channel: grpc.aio.Channel) -> None:
    free = await generated(channel, asks())
    token = free.ids[20]
    at = free.ids.index(token)
    answer = await generated(channel, asks(stopping={"stop_token_ids": [token]}))
    assert answer.text == free.text[:at]
    assert (answer.end.reason, answer.end.matched_token, answer.end.tokens) == (pb.FINISH_REASON_STOP, token, at + 1)


async def test_the_end_token_ends_the_text_unless_ignored(made: MadeRepository, root: Path) -> None:
    space = made.lstm.tokenizer.token_to_id("e")

    def ends_at_e(manifest: manifest_pb2.Manifest) -> None:
        assert space is not None
        manifest.vocabulary.end_token = space

    async with (
        running_server(edited(made, root, ends_at_e)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        whole = await generated(channel, asks(stopping={"ignore_eos": True, "max_tokens": 300}))
        ended = await generated(channel, asks(stopping={"max_tokens": 300}))
    assert "e" in whole.text
    assert ended.text == whole.text[: whole.text.index("e")]
    assert (whole.end.reason, ended.end.reason) == (pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_EOS)


async def test_log_probabilities_are_the_models_own(channel: grpc.aio.Channel, made: MadeRepository) -> None:
    outputs = pb.GenerateOutputs(logprobs=len(ALPHABET) // 2)
    answer = await generated(channel, asks(sampling={"temperature": 0.5, "top_k": 3}, outputs=outputs))
    steps = [step for piece in answer.pieces for step in piece.logprobs]
    assert [step.chosen.token_id for step in steps] == answer.ids
    assert [step.chosen.token for step in steps] == list(answer.text)
    for step in steps:
        ranked = [candidate.logprob for candidate in step.top]
        assert ranked == sorted(ranked, reverse=True)
        assert [candidate.rank for candidate in step.top] == list(range(1, len(ranked) + 1))
        assert step.chosen.rank <= 3  # drawn among the three likeliest
        assert step.top[step.chosen.rank - 1].logprob == step.chosen.logprob
        assert math.fsum(math.exp(logprob) for logprob in ranked) < 1 + 1e-6
    assert answer.end.logprob == pytest.approx(math.fsum(step.chosen.logprob for step in steps), abs=1e-4)


async def test_all_probabilities_of_a_step_add_up_to_one(channel: grpc.aio.Channel) -> None:
    outputs = pb.GenerateOutputs(logprobs=20)
    allowed = await generated(channel, asks(stopping={"max_tokens": 1}, outputs=outputs))
    (step,) = allowed.pieces[0].logprobs
    rest = len(ALPHABET) - 20
    told = math.fsum(math.exp(candidate.logprob) for candidate in step.top)
    assert told <= 1
    assert 1 - told <= rest * math.exp(step.top[-1].logprob)  # those that were not told are less likely still


async def test_log_probabilities_of_the_chosen_token_alone(channel: grpc.aio.Channel) -> None:
    answer = await generated(channel, asks(outputs=pb.GenerateOutputs(logprobs=0)))
    steps = [step for piece in answer.pieces for step in piece.logprobs]
    assert len(steps) == 40
    assert not any(step.top for step in steps)


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
    told = await refused(channel, request_)
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_EMPTY_PROMPT")
    assert told.message == (
        "the prompt is empty and this model has no start token to begin with; send at least one token of text"
    )


@pytest.mark.parametrize(
    ("request_", "field", "said"),
    [
        (asks(sampling={"temperature": -0.1}), "sampling.temperature", "is -0.1; it has to be in [0, 100]"),
        (asks(sampling={"temperature": math.nan}), "sampling.temperature", "is nan; it has to be in [0, 100]"),
        (asks(sampling={"temperature": math.inf}), "sampling.temperature", "is inf; it has to be in [0, 100]"),
        (asks(sampling={"top_p": 1.1}), "sampling.top_p", "is 1.1; it has to be in [0, 1]"),
        (asks(sampling={"top_p": 0}), "sampling.top_p", "is 0; it has to be"),
        (asks(sampling={"top_p": math.nan}), "sampling.top_p", "is nan; it has to be in [0, 1]"),
        (asks(sampling={"min_p": -1}), "sampling.min_p", "is -1; it has to be in [0, 1]"),
        (asks(sampling={"top_k": -1}), "sampling.top_k", "is -1; it has to be in [0, 2147483647]"),
        (asks(stopping={"max_tokens": 0}), "stopping.max_tokens", "is 0; it has to be in [1, 100000]"),
        (asks(stopping={"max_tokens": 100_001}), "stopping.max_tokens", "is 100001; it has to be in [1, 100000]"),
        (asks(stopping={"stop": ["a", ""]}), "stopping.stop[1]", "has 0 characters; it has to have 1 to 256"),
        (asks(stopping={"stop": ["a" * 257]}), "stopping.stop[0]", "has 257 characters; it has to have 1 to 256"),
        (asks(stopping={"stop": ["a"] * 17}), "stopping.stop", "has 17 entries, at most 16"),
        (asks(stopping={"stop_token_ids": [0] * 65}), "stopping.stop_token_ids", "has 65 entries, at most 64"),
        (
            asks(stopping={"stop_token_ids": [35]}),
            "stopping.stop_token_ids",
            "[0] is 35; the vocabulary has ids 0 to 34",
        ),
        (asks(outputs=pb.GenerateOutputs(logprobs=21)), "outputs.logprobs", "is 21; it has to be in [0, 20]"),
        (asks(token_ids=common.TokenIds(ids=[1, 35])), "token_ids.ids", "[1] is 35; the vocabulary has ids 0 to 34"),
        (asks(token_ids=common.TokenIds(ids=[-1])), "token_ids.ids", "[0] is -1; the vocabulary has ids 0 to 34"),
    ],
)
async def test_a_wrong_field_is_named_with_what_it_has_to_be(
    channel: grpc.aio.Channel, request_: pb.GenerateRequest, field: str, said: str
) -> None:
    told = await refused(channel, request_)
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD")
    assert told.field == field
    assert said in told.message
    assert told.message.startswith(field)


async def test_a_character_that_the_model_does_not_know_is_named(channel: grpc.aio.Channel) -> None:
    told = await refused(channel, asks("the Cat"))
    assert (told.reason, told.field) == ("ERROR_REASON_OUT_OF_VOCABULARY", "text")
    assert told.message.startswith("character 'C' (U+0043) at offset 4 of text is not in the model's vocabulary")
    assert told.metadata == {"character": "C", "offset": "4"}


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
        told = await refused(channel, request_)
    assert told.reason == "ERROR_REASON_INPUT_TOO_LONG"
    assert told.message == "prompt has 11 tokens, the model takes at most 10; cut it into several requests"
    assert told.metadata == {"count": "11", "limit": "10"}


async def test_a_prompt_over_the_limit_in_bytes_is_refused(made: MadeRepository) -> None:
    limits = LimitSettings(text_bytes_max=10)
    async with (
        running_server(made.root, limits=limits) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        assert len((await generated(channel, asks("国国国a"))).ids) == 40
        told = await refused(channel, asks("国国国aa"))
    assert (told.reason, told.field) == ("ERROR_REASON_INPUT_TOO_LONG", "text")
    assert told.message == "text has 11 bytes, the server takes at most 10; cut it into several requests"


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
    told = await refused(channel, request_)
    assert (told.code, told.reason) == (code, f"ERROR_REASON_{reason}")


async def test_a_version_that_is_not_there_is_refused(channel: grpc.aio.Channel) -> None:
    request = asks()
    request.model.version = 7
    told = await refused(channel, request)
    assert (told.reason, told.resource) == ("ERROR_REASON_VERSION_NOT_FOUND", ("model version", "lstm/7"))


@pytest.mark.parametrize("field", ["state", "resume"])
async def test_what_this_server_cannot_do_yet_is_refused_by_name(channel: grpc.aio.Channel, field: str) -> None:
    request = asks()
    getattr(request, field).SetInParent()
    told = await refused(channel, request)
    assert (told.code, told.reason) == (grpc.StatusCode.UNIMPLEMENTED, "ERROR_REASON_UNIMPLEMENTED")
    assert field in told.message


async def test_a_refused_request_leaves_the_others_alone(channel: grpc.aio.Channel) -> None:
    alone = await generated(channel, asks(stopping={"max_tokens": 300}))
    running = asyncio.create_task(generated(channel, asks(stopping={"max_tokens": 300})))
    for _ in range(5):
        await refused(channel, asks(sampling={"top_p": 2}))
    assert (await running).text == alone.text


@pytest.mark.parametrize("read_before", [1, 6])
async def test_a_cancelled_stream_leaves_nothing_behind(made: MadeRepository, read_before: int) -> None:
    server = Server(ServerSettings(models=made.root, listen="127.0.0.1:0", drain_s=0.0))
    engine_of = server.repository.model
    try:
        async with grpc.aio.insecure_channel(await server.start()) as channel:
            endless = GenerationServiceStub(channel).Generate(asks(stopping={"max_tokens": TOKENS_MAX}))
            for _ in range(read_before):
                await endless.read()
            assert endless.cancel()
            await generated(channel, asks())  # the others do not notice
            async with asyncio.timeout(30):
                while _held(engine_of("lstm", None).engine.counts()):  # each round is an answer of the server
                    await generated(channel, asks(model="gru", stopping={"max_tokens": 1}))
    finally:
        await server.stop()


def _held(counts: Counts) -> int:
    return counts.waiting + counts.reading + counts.decoding + counts.paused


async def test_a_full_queue_refuses_and_tells_when_to_try_again(made: MadeRepository) -> None:
    batch = BatchSettings(size_max=1, queue_depth_max=1)
    async with running_server(made.root, batch=batch) as address, grpc.aio.insecure_channel(address) as channel:
        stub: Any = GenerationServiceStub(channel)
        calls = [stub.Generate(asks(stopping={"max_tokens": TOKENS_MAX}))]
        assert (await calls[0].read()).HasField("started")
        assert (await calls[0].read()).HasField("piece")  # it has the row, so there is one place in the queue
        calls.append(stub.Generate(asks(stopping={"max_tokens": TOKENS_MAX})))
        assert (await calls[1].read()).HasField("started")
        told = await refusal(stub.Generate(asks()))
        for call in calls:
            call.cancel()
    assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL")
    assert told.retry_s is not None
    assert told.retry_s > 0


async def test_many_at_once_read_what_each_would_alone(channel: grpc.aio.Channel) -> None:
    seeds = np.arange(12)
    alone = [(await generated(channel, asks(sampling={"seed": int(seed)}))).text for seed in seeds]
    calls = [GenerationServiceStub(channel).Generate(asks(sampling={"seed": int(seed)})) for seed in seeds]
    assert [(await collect(call)).text for call in calls] == alone
    assert len(set(alone)) == len(alone)
