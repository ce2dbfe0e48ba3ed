"""SessionService over a real connection: what it answers, and every refusal with its reason."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.harness.processes import rss_mib
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import model_pb2
from seqserve.v1 import session_pb2 as pb
from tests.calls import refusal
from tests.server.sessions.wire import LSTM, Caller, serving

MISSING = "no-such-session"


@pytest.fixture
async def channel(models: Path) -> AsyncGenerator[grpc.aio.Channel]:
    async with serving(models) as channel:
        yield channel


@pytest.fixture
def caller(channel: grpc.aio.Channel) -> Caller:
    return Caller(channel)


async def test_a_session_from_its_beginning_to_its_end(caller: Caller) -> None:
    created = await caller.create("one", ttl=Duration(seconds=60), keep_tokens=True)
    assert (created.id, created.position, created.ttl.seconds, created.keep_tokens) == ("one", 0, 60, True)
    assert created.servable.model == "lstm"
    assert created.expire_time.ToNanoseconds() - created.update_time.ToNanoseconds() == 60 * 10**9
    first = await caller.generated("the cat", 5, session_id="one", checkpoint="early", expected_position=0)
    assert (first.finished.state.position, first.finished.state.session_id) == (12, "one")
    await caller.generated("", 5, session_id="one")
    result = (await caller.call(pb.GetSessionRequest(session_id="one"))).session
    assert (result.position, result.create_time, result.busy) == (17, created.create_time, False)
    assert [(kept.name, kept.position) for kept in result.checkpoints] == [("early", 12)]
    assert result.size_bytes > created.size_bytes
    forked = (
        await caller.call(pb.ForkSessionRequest(session_id="one", new_session_id="two", checkpoint="early"))
    ).session
    assert (forked.id, forked.position, forked.ttl.seconds) == ("two", 12, 60)
    rewound = (await caller.call(pb.RewindSessionRequest(session_id="one", checkpoint="early"))).session
    assert (rewound.position, rewound.busy) == (12, False)
    exported = await caller.call(pb.ExportSessionRequest(session_id="one"))
    imported = (
        await caller.call(pb.ImportSessionRequest(snapshot=exported.snapshot, ttl=Duration(nanos=500_000_000)))
    ).session
    assert (imported.position, imported.keep_tokens, imported.ttl.nanos) == (12, True, 500_000_000)
    texts = {(await caller.generated("!", 8, session_id=name)).text for name in ("one", "two", imported.id)}
    assert len(texts) == 1
    touched = (await caller.call(pb.TouchSessionRequest(session_id="two", ttl=Duration(seconds=7)))).session
    assert touched.ttl.seconds == 7
    listed = await caller.call(pb.ListSessionsRequest())
    assert [session.id for session in listed.sessions] == sorted(["one", "two", imported.id])
    await caller.call(pb.DeleteSessionRequest(session_id="one"))
    told_gone = await refusal(caller.call(pb.GetSessionRequest(session_id="one")))
    assert (told_gone.code, told_gone.reason) == (grpc.StatusCode.NOT_FOUND, "ERROR_REASON_SESSION_NOT_FOUND")


async def test_lists_come_in_pages(caller: Caller) -> None:
    for number in range(5):
        await caller.create(f"s{number}")
    ids, token = list[str](), ""
    while True:
        answer = await caller.call(pb.ListSessionsRequest(page_size=2, page_token=token, model="lstm"))
        ids += [session.id for session in answer.sessions]
        if not (token := answer.next_page_token):
            break
    assert ids == [f"s{number}" for number in range(5)]
    assert not (await caller.call(pb.ListSessionsRequest(model="gru"))).sessions


BY_ID: list[Callable[[str], Message]] = [
    lambda id_: pb.GetSessionRequest(session_id=id_),
    lambda id_: pb.TouchSessionRequest(session_id=id_),
    lambda id_: pb.ForkSessionRequest(session_id=id_),
    lambda id_: pb.RewindSessionRequest(session_id=id_, checkpoint="a"),
    lambda id_: pb.ExportSessionRequest(session_id=id_),
    lambda id_: pb.DeleteSessionRequest(session_id=id_),
]


@pytest.mark.parametrize("request_of", BY_ID)
async def test_a_session_that_is_not_there_is_told_by_every_method(
    caller: Caller, request_of: Callable[[str], Message]
) -> None:
    result = await refusal(caller.call(request_of(MISSING)))
    assert (result.code, result.reason) == (grpc.StatusCode.NOT_FOUND, "ERROR_REASON_SESSION_NOT_FOUND")
    assert result.resource == ("session", MISSING)
    for id_ in ("", "a b", "x" * 129, "ä", "a/b", "a\n"):
        result = await refusal(caller.call(request_of(id_)))
        assert (result.reason, result.field) == ("ERROR_REASON_INVALID_FIELD", "session_id")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CreateSessionRequest(model=LSTM, session_id="a b"), "session_id"),
        (pb.CreateSessionRequest(model=LSTM, ttl=Duration()), "ttl"),
        (pb.CreateSessionRequest(model=LSTM, ttl=Duration(seconds=-1)), "ttl"),
        (pb.CreateSessionRequest(model=LSTM, ttl=Duration(seconds=31 * 86400)), "ttl"),
        (pb.CreateSessionRequest(model=LSTM, request_id="x" * 129), "request_id"),
        (pb.CreateSessionRequest(), "model.name"),
        (pb.ForkSessionRequest(session_id="one", new_session_id="a b"), "new_session_id"),
        (pb.ForkSessionRequest(session_id="one", checkpoint=""), "checkpoint"),
        (pb.ForkSessionRequest(session_id="one", checkpoint="x" * 65), "checkpoint"),
        (pb.ForkSessionRequest(session_id="one", expected_position=-1), "expected_position"),
        (pb.RewindSessionRequest(session_id="one"), "checkpoint"),
        (pb.ListSessionsRequest(page_size=0), "page_size"),
        (pb.ListSessionsRequest(page_size=1001), "page_size"),
        (pb.ListSessionsRequest(page_token="a b"), "page_token"),
    ],
)
async def test_a_field_that_cannot_be_is_named(caller: Caller, request_: Message, field: str) -> None:
    result = await refusal(caller.call(request_))
    assert (result.code, result.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD")
    assert result.field == field


@pytest.mark.parametrize(
    ("state", "field"),
    [
        ({"session_id": ""}, "state.session_id"),
        ({"destination": 2}, "state.destination"),
        ({"destination": 9}, "state.destination"),
        ({"create_if_absent": True}, "state.create_if_absent"),
        ({"ttl": Duration(seconds=1)}, "state.ttl"),
        ({"session_id": "one", "ttl": Duration()}, "state.ttl"),
        ({"session_id": "one", "expected_position": -1}, "state.expected_position"),
        ({"session_id": "one", "busy_policy": 9}, "state.busy_policy"),
        ({"session_id": "one", "checkpoint": "x" * 65}, "state.checkpoint"),
        ({"session_id": "one", "checkpoint": "a", "destination": 1}, "state.checkpoint"),
        ({"snapshot": b"x", "checkpoint": "a"}, "state.checkpoint"),
    ],
)
async def test_state_options_that_cannot_be_are_named(caller: Caller, state: dict[str, Any], field: str) -> None:
    result = await refusal(caller.generate("a", **state))
    assert (result.reason, result.field) == ("ERROR_REASON_INVALID_FIELD", field)


async def test_refusals_that_depend_on_the_session(caller: Caller) -> None:
    await caller.create("one", request_id="r")
    again = await caller.create("one", request_id="r")
    assert again.id == "one"
    exists = await refusal(caller.call(pb.CreateSessionRequest(model=LSTM, session_id="one")))
    assert (exists.code, exists.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ERROR_REASON_SESSION_EXISTS")
    for request in (
        pb.RewindSessionRequest(session_id="one", checkpoint="a"),
        pb.ForkSessionRequest(session_id="one", checkpoint="a"),
        pb.ExportSessionRequest(session_id="one", checkpoint="a"),
    ):
        missing = await refusal(caller.call(request))
        assert (missing.code, missing.reason) == (grpc.StatusCode.NOT_FOUND, "ERROR_REASON_CHECKPOINT_NOT_FOUND")
        assert missing.resource == ("checkpoint", "a")
    elsewhere = await refusal(caller.call(pb.ForkSessionRequest(session_id="one", expected_position=4)))
    assert (elsewhere.code, elsewhere.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_POSITION_MISMATCH",
    )
    assert elsewhere.metadata == {"position": "0", "expected_position": "4"}
    unknown = await refusal(caller.call(pb.CreateSessionRequest(model=common.ModelRef(name="lst"))))
    assert unknown.reason == "ERROR_REASON_MODEL_NOT_FOUND"


async def test_a_request_id_names_one_request(caller: Caller) -> None:
    first = await caller.generated("the cat", 4, "r", session_id="one", create_if_absent=True)
    again = await caller.generated("the cat", 4, "r", session_id="one", checkpoint="a")
    assert (again.text, again.finished.state.already_applied) == (first.text, True)
    for text, tokens in (("the dog", 4), ("the cat", 5)):
        refused = await refusal(caller.generate(text, tokens, "r", session_id="one"))
        assert (refused.code, refused.field) == (grpc.StatusCode.INVALID_ARGUMENT, "request_id")
    rewind = await refusal(caller.call(pb.RewindSessionRequest(session_id="one", checkpoint="a", request_id="r")))
    assert rewind.field == "request_id"
    assert (await caller.call(pb.GetSessionRequest(session_id="one"))).session.position == 11


async def test_a_busy_session_is_refused_or_waited_for(caller: Caller) -> None:
    await caller.create("one")
    stream = caller.generate("a", 5000, session_id="one")
    await stream.read()  # started: it holds the session; tokens run ahead of this reader by a bounded number
    busy = await refusal(caller.generate("b", session_id="one"))
    assert (busy.code, busy.reason) == (grpc.StatusCode.ABORTED, "ERROR_REASON_SESSION_BUSY")
    rewound = await refusal(caller.call(pb.RewindSessionRequest(session_id="one", checkpoint="a")))
    assert rewound.reason == "ERROR_REASON_SESSION_BUSY"
    assert (await caller.call(pb.GetSessionRequest(session_id="one"))).session.busy
    waiting = caller.generate("b", session_id="one", busy_policy=2)
    stream.cancel()
    await waiting.wait_for_connection()
    events = [event async for event in waiting]
    assert events[-1].finished.state.position == 5  # the cancelled one left nothing


async def test_an_expired_session_is_told_with_its_time(caller: Caller) -> None:
    session = await caller.create("one", ttl=Duration(nanos=1_000_000))
    while True:
        try:
            await caller.call(pb.GetSessionRequest(session_id="one"))
        except grpc.aio.AioRpcError:
            break
    result = await refusal(caller.call(pb.GetSessionRequest(session_id="one")))
    assert (result.code, result.reason) == (grpc.StatusCode.NOT_FOUND, "ERROR_REASON_SESSION_EXPIRED")
    assert result.metadata["expire_time"].startswith(session.expire_time.ToDatetime().isoformat()[:19])


async def test_a_full_store_says_when_to_try_again(models: Path) -> None:
    async with serving(models, count_max=1) as channel:
        caller = Caller(channel)
        await caller.create("one")
        result = await refusal(caller.call(pb.CreateSessionRequest(model=LSTM)))
    assert (result.code, result.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_STORE_FULL")
    assert result.retry_s


async def test_broken_snapshots_are_refused_and_the_server_lives_on_in_the_same_memory(models: Path) -> None:
    async with serving(models, snapshot_bytes_max=1 << 20) as channel:
        caller = Caller(channel)
        await caller.generated("the cat", session_id="one", create_if_absent=True)
        whole = (await caller.call(pb.ExportSessionRequest(session_id="one"))).snapshot
        broken = [whole[:cut] for cut in range(0, len(whole), 97)]
        broken += [whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :] for at in range(0, len(whole), 89)]
        large = [bytes(1 << 20), b"\xff" * (1 << 20)]

        async def refuse(snapshots: list[bytes]) -> float:
            for snapshot in snapshots:
                result = await refusal(caller.call(pb.ImportSessionRequest(snapshot=snapshot)))
                assert (result.code, result.reason) == (
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "ERROR_REASON_SNAPSHOT_INVALID",
                )
            gc.collect()  # garbage that isn't collected yet doesn't count
            return rss_mib(os.getpid())

        before_mib = await refuse(broken + 20 * large)
        assert await refuse(100 * large) - before_mib < 64  # of 200 that were sent; the allocator keeps some tens
        huge = await refusal(caller.call(pb.ImportSessionRequest(snapshot=bytes((1 << 20) + 1))))
        assert huge.message == "the snapshot must have at most 1048576 bytes, got 1048577"
        assert (await caller.call(pb.ImportSessionRequest(snapshot=whole))).session.position == 11
        limits = (await caller.models.GetModel(model_pb2.GetModelRequest(model=LSTM))).limits
        assert limits.snapshot_bytes_max == 1 << 20


async def test_health_follows_the_models_that_come_and_go(channel: grpc.aio.Channel) -> None:
    caller, stub = Caller(channel), health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="seqserve.v1.GenerationService"))
    states = [(await watch.read()).status]
    for name in ("lstm", "gru"):
        ref = common.ModelRef(name=name, version=1)
        await caller.models.UnloadModel(model_pb2.UnloadModelRequest(model=ref))
    states.append((await watch.read()).status)
    await caller.models.LoadModel(model_pb2.LoadModelRequest(model=LSTM))
    states.append((await watch.read()).status)
    watch.cancel()
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert states == [serving, not_serving, serving]


async def test_a_version_is_unloaded_under_its_sessions_and_loaded_again(models: Path) -> None:
    ref = common.ModelRef(name="lstm", version=1)
    async with serving(models) as channel:
        caller = Caller(channel)
        await caller.generated("the cat", session_id="one", create_if_absent=True)
        unloading = await caller.models.UnloadModel(model_pb2.UnloadModelRequest(model=ref))
        assert unloading.model.state == model_pb2.MODEL_STATE_UNLOADING
        refused = await refusal(caller.generate("the cat"))
        assert (refused.code, refused.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "ERROR_REASON_MODEL_NOT_READY",
        )
        await caller.generated(" sat", session_id="one")
        await caller.call(pb.DeleteSessionRequest(session_id="one"))
        unloaded = await caller.models.UnloadModel(model_pb2.UnloadModelRequest(model=ref))
        assert (unloaded.model.state, unloaded.model.provider) == (model_pb2.MODEL_STATE_UNLOADED, "")
        loaded = await caller.models.LoadModel(model_pb2.LoadModelRequest(model=LSTM))
        assert (loaded.model.state, loaded.model.servable.version) == (model_pb2.MODEL_STATE_READY, 1)
        await caller.generated("the cat")
        for request, reason in (
            (common.ModelRef(name="none"), "MODEL_NOT_FOUND"),
            (common.ModelRef(name="lstm", version=2), "VERSION_NOT_FOUND"),
        ):
            result = await refusal(caller.models.LoadModel(model_pb2.LoadModelRequest(model=request)))
            assert result.reason == f"ERROR_REASON_{reason}"
            result = await refusal(
                caller.models.UnloadModel(
                    model_pb2.UnloadModelRequest(model=common.ModelRef(name=request.name, version=2))
                )
            )
            assert result.reason == f"ERROR_REASON_{reason}"
        result = await refusal(caller.models.UnloadModel(model_pb2.UnloadModelRequest(model=LSTM)))
        assert result.field == "model.version"
