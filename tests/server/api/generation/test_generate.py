"""Generate, as a caller sees it."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from seqserve.server.app import Server
from seqserve.server.engine.stats import EngineStats
from seqserve.server.settings import BatchSettings, ServerSettings
from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from tests.calls import collect, refusal
from tests.conftest import MadeRepository
from tests.servables import ALPHABET
from tests.server.api.generation.generating import TOKENS_MAX, asks, edited, generated, refused


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
    reported = ""
    for piece in answer.pieces:
        reported += piece.text
        assert free[:at].startswith(reported)
    assert reported == free[:at]


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
    reported = math.fsum(math.exp(candidate.logprob) for candidate in step.top)
    assert reported <= 1
    assert 1 - reported <= rest * math.exp(step.top[-1].logprob)  # those that were not told are less likely still


async def test_log_probabilities_of_the_chosen_token_alone(channel: grpc.aio.Channel) -> None:
    answer = await generated(channel, asks(outputs=pb.GenerateOutputs(logprobs=0)))
    steps = [step for piece in answer.pieces for step in piece.logprobs]
    assert len(steps) == 40
    assert not any(step.top for step in steps)


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
                while _held(engine_of("lstm", None).engine.stats()):  # each round is an answer of the server
                    await generated(channel, asks(model="gru", stopping={"max_tokens": 1}))
    finally:
        await server.stop()


def _held(stats: EngineStats) -> int:
    return stats.waiting + stats.prefilling + stats.decoding + stats.paused


async def test_a_full_queue_refuses_and_tells_when_to_try_again(made: MadeRepository) -> None:
    batch = BatchSettings(size_max=1, queue_depth_max=1)
    async with running_server(made.root, batch=batch) as address, grpc.aio.insecure_channel(address) as channel:
        stub: Any = GenerationServiceStub(channel)
        calls = [stub.Generate(asks(stopping={"max_tokens": TOKENS_MAX}))]
        assert (await calls[0].read()).HasField("started")
        assert (await calls[0].read()).HasField("piece")  # it has the row, so there is one place in the queue
        calls.append(stub.Generate(asks(stopping={"max_tokens": TOKENS_MAX})))
        assert (await calls[1].read()).HasField("started")
        reported = await refusal(stub.Generate(asks()))
        for call in calls:
            call.cancel()
    assert (reported.code, reported.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL")
    assert reported.retry_s is not None
    assert reported.retry_s > 0


async def test_many_at_once_read_what_each_would_alone(channel: grpc.aio.Channel) -> None:
    seeds = np.arange(12)
    alone = [(await generated(channel, asks(sampling={"seed": int(seed)}))).text for seed in seeds]
    calls = [GenerationServiceStub(channel).Generate(asks(sampling={"seed": int(seed)})) for seed in seeds]
    assert [(await collect(call)).text for call in calls] == alone
    assert len(set(alone)) == len(alone)
