"""A snapshot of finite but huge tensors harms nobody but its sender."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import numpy as np
import pytest

from seqserve.server.sessions.snapshot import seal, unseal
from seqserve.v1 import session_pb2, state_pb2
from seqserve.v1.session_pb2_grpc import SessionServiceStub
from tests.server.api.generation.generating import asks, generated, refused


async def hostile_snapshot(channel: grpc.aio.Channel, model: str) -> bytes:
    state = state_pb2.StateOptions(destination=state_pb2.STATE_DESTINATION_SNAPSHOT)
    answer = await generated(channel, asks(model=model, stopping={"max_tokens": 3}, state=state))
    payload = unseal(answer.finished.state.snapshot, None, 1 << 20)
    for tensor in payload.tensors:
        units = len(tensor.data) // 4
        tensor.data = np.where(np.arange(units) % 2, 3e38, -3e38).astype("<f4").tobytes()
    return seal(payload, None)


@pytest.mark.parametrize("sampling", [{"top_p": 0.9}, {"temperature": 0.0}, {"n": 2, "top_k": 5}], ids=str)
async def test_its_generation_is_refused_and_sixteen_neighbours_keep_every_bit(
    channel: grpc.aio.Channel, sampling: dict[str, Any]
) -> None:
    requests = [asks(model="gru", sampling={"seed": seed, "top_p": 0.9}) for seed in range(16)]
    alone = [await generated(channel, request) for request in requests]
    snapshot = await hostile_snapshot(channel, "gru")
    hostile = asks("", model="gru", sampling=sampling, state=state_pb2.StateOptions(snapshot=snapshot))
    attack = asyncio.create_task(refused(channel, hostile))
    together = await asyncio.gather(*(generated(channel, request) for request in requests))
    refusal = await attack
    assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "ERROR_REASON_NON_FINITE_OUTPUT"
    assert "model 'gru'" in refusal.message
    assert [answer.text for answer in together] == [answer.text for answer in alone]


async def test_its_session_stays_where_it_was(channel: grpc.aio.Channel) -> None:
    snapshot = await hostile_snapshot(channel, "gru")
    stub: Any = SessionServiceStub(channel)
    await stub.ImportSession(session_pb2.ImportSessionRequest(session_id="s", snapshot=snapshot))
    before = await stub.GetSession(session_pb2.GetSessionRequest(session_id="s"))
    state = state_pb2.StateOptions(session_id="s")
    refusal = await refused(channel, asks("", model="gru", sampling={"top_p": 0.9}, state=state))
    assert refusal.reason == "ERROR_REASON_NON_FINITE_OUTPUT"
    after = await stub.GetSession(session_pb2.GetSessionRequest(session_id="s"))
    assert after.session.position == before.session.position == 10
