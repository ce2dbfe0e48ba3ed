"""Whose sessions are whose: another's are, in every answer, as if they were not there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import grpc.aio
import pytest
from google.protobuf.message import Message

from seqserve.v1 import session_pb2 as pb
from tests.calls import refusal
from tests.server.sessions.wire import Caller, serving


@pytest.fixture
async def channel(models: Path) -> AsyncGenerator[grpc.aio.Channel]:
    async with serving(models) as channel:
        yield channel


@pytest.mark.parametrize(("one", "other"), [("ann", "bob"), ("ann", None), (None, "bob"), ("ann", "ann ")])
async def test_neither_can_do_anything_with_the_others_sessions(
    channel: grpc.aio.Channel, one: str | None, other: str | None
) -> None:
    ann, bob = Caller(channel, one), Caller(channel, other)
    await ann.generated("the cat", session_id="secret", create_if_absent=True, checkpoint="a")
    before = (await ann.call(pb.GetSessionRequest(session_id="secret"))).session
    attempts: list[Message] = [
        pb.GetSessionRequest(session_id="secret"),
        pb.TouchSessionRequest(session_id="secret"),
        pb.ForkSessionRequest(session_id="secret", new_session_id="mine"),
        pb.ForkSessionRequest(session_id="secret", checkpoint="a", expected_position=0),
        pb.RewindSessionRequest(session_id="secret", checkpoint="a"),
        pb.ExportSessionRequest(session_id="secret"),
        pb.DeleteSessionRequest(session_id="secret"),
    ]
    for attempt in attempts:
        refused = await refusal(bob.call(attempt))
        attempt.session_id = "never-was"  # type: ignore[attr-defined]
        never_was = await refusal(bob.call(attempt))
        assert (refused.code, refused.reason) == (never_was.code, never_was.reason)
        assert refused.message == never_was.message.replace("never-was", "secret")
        assert refused.metadata == never_was.metadata
    result = await refusal(bob.generate("x", session_id="secret"))
    assert result.reason == "ERROR_REASON_SESSION_NOT_FOUND"
    assert not (await bob.call(pb.ListSessionsRequest())).sessions
    assert (await ann.call(pb.GetSessionRequest(session_id="secret"))).session == before


async def test_the_same_id_is_two_sessions_for_two_owners(channel: grpc.aio.Channel) -> None:
    ann, bob = Caller(channel, "ann"), Caller(channel, "bob")
    await ann.generated("the cat", session_id="one", create_if_absent=True)
    assert (await bob.create("one", request_id="r")).position == 0
    assert (await ann.create("two", request_id="r")).id == "two"
    for caller, position in ((ann, 11), (bob, 0)):
        assert (await caller.call(pb.GetSessionRequest(session_id="one"))).session.position == position
    await bob.call(pb.DeleteSessionRequest(session_id="one"))
    assert [session.id for session in (await ann.call(pb.ListSessionsRequest())).sessions] == ["one", "two"]


async def test_the_same_request_id_draws_an_id_for_each_owner(channel: grpc.aio.Channel) -> None:
    ann, bob = Caller(channel, "ann"), Caller(channel, "bob")
    first = await ann.create(request_id="r")
    assert (await bob.create(request_id="r")).position == 0
    await bob.generated("the cat", session_id=first.id)  # bob's own of that name
    assert (await ann.call(pb.GetSessionRequest(session_id=first.id))).session == first


async def test_another_on_the_same_session_name_is_not_busy(channel: grpc.aio.Channel) -> None:
    ann, bob = Caller(channel, "ann"), Caller(channel, "bob")
    stream = ann.generate("a", 5000, session_id="one", create_if_absent=True)
    await stream.read()
    await bob.generated("b", session_id="one", create_if_absent=True)
    assert not (await bob.call(pb.GetSessionRequest(session_id="one"))).session.busy
    stream.cancel()
