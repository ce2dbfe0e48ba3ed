"""Streams that go on in a session: what they say of it, and where it is afterwards."""

import threading
from collections.abc import Iterator

import pytest

from seqserve.client import AsyncClient, Client, SessionNotFoundError
from seqserve.client.testing import ScriptedServer
from seqserve.v1 import state_pb2


def test_a_stream_advances_its_session_at_its_end(server: ScriptedServer, client: Client) -> None:
    with client.session("m") as session:
        stream = session.stream_tag(["one tw", "o "], checkpoint="two", spans=True)
        assert [tag.token for tag in stream] == ["one", "two"]
        assert (session.position, stream.finished.state.session_id) == (2, session.id)
        config = server.requests[1].config
        assert (config.model.name, config.state.session_id, config.state.checkpoint) == ("m", session.id, "two")
        assert (config.state.expected_position, config.outputs.spans) == (0, True)
        assert [score.chosen.token for score in session.stream_score(["ab"])] == ["a", "b"]
        assert session.position == 4
        assert [answer.chosen for answer in session.stream_classify(["one two three"])] == [("X",)]
        assert session.position == 7
        assert server.requests[4].config.state.expected_position == 2


def test_a_stream_that_was_left_leaves_the_session(server: ScriptedServer, client: Client) -> None:
    left = threading.Event()

    def source() -> Iterator[str]:
        yield "abc"
        left.wait(20.0)

    with client.session("m") as session:
        for _ in session.stream_score(source()):
            break
        assert server.cancelled.wait(20.0)
        left.set()
        assert (session.position, session.info().position) == (0, 0)


def test_one_that_waits_goes_on_from_wherever_it_is(server: ScriptedServer, client: Client) -> None:
    with client.session("m") as session:
        list(session.stream_tag([], wait=True))
        state = server.requests[1].config.state
        assert (state.busy_policy, state.HasField("expected_position")) == (state_pb2.BUSY_POLICY_WAIT, False)


def test_a_session_keeps_its_state_by_itself(client: Client) -> None:
    with client.session("m") as session, pytest.raises(TypeError, match="holds its own state"):
        session.stream_tag([], return_snapshot=True)


async def test_the_asyncio_client_does_the_same(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    async with async_client.session("m", "named") as session:
        assert [tag.token async for tag in session.stream_tag(["one two"])] == ["one", "two"]
        assert [score.chosen.token async for score in session.stream_score(["a"])] == ["a"]
        assert [answer.tokens async for answer in session.stream_classify(["one two"])] == [2]
        assert session.position == 5
        await session.delete()
        with pytest.raises(SessionNotFoundError):
            await session.stream_tag(["three"]).start()
