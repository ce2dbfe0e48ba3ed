"""A session through the blocking client: its life, what its requests carry, and answers that get lost."""

import stat
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from seqserve.client import (
    CheckpointNotFoundError,
    Client,
    InternalError,
    ProtocolError,
    ServableMismatchError,
    SessionBusyError,
    SessionExistsError,
    SessionNotFoundError,
    SnapshotInvalidError,
    UnavailableError,
)
from seqserve.client.testing import Failure, ScriptedServer
from seqserve.v1 import common_pb2, session_pb2, state_pb2
from tests.client.rig import GONE, ids, loses_answers


def test_a_session_goes_on_where_it_was_and_is_gone_at_the_end(server: ScriptedServer, client: Client) -> None:
    with client.session("m") as session:
        assert ids(server) == [session.id]
        assert (session.model, session.position) == ("m", 0)
        assert session.generate("ab").text() == "ab"
        assert session.position == 4
        assert session.score("abc").logprob == -3.0
        assert session.position == session.info().position == 7
    assert ids(server) == []


@pytest.mark.parametrize(
    ("given", "stays"),
    [
        ({}, False),
        ({"keep": True}, True),
        ({"session_id": "mine"}, True),
        ({"session_id": "mine", "keep": False}, False),
    ],
)
def test_a_session_with_a_name_stays(
    given: dict[str, Any], stays: bool, server: ScriptedServer, client: Client
) -> None:
    with client.session("m", **given) as session:
        copy = session.fork(given.get("session_id", "") + "-copy" if "session_id" in given else None)
        with copy:
            assert len(ids(server)) == 2
    assert (session.id in ids(server)) == stays
    assert (copy.id in ids(server)) == ("session_id" in given)


def test_a_session_of_that_name_is_opened_as_it_is(server: ScriptedServer, client: Client) -> None:
    with client.session("m", "mine") as session:
        session.generate("ab").text()
    with client.session("m", "mine", version=1) as again:
        assert again.position == 4
    assert client.sessions.open("mine").position == 4


@pytest.mark.parametrize(("model", "version"), [("other", None), ("m", 2)])
def test_a_session_of_that_name_but_of_another_model_is_told(
    model: str, version: int | None, server: ScriptedServer, client: Client
) -> None:
    client.session("m", "mine").open()
    with pytest.raises(ServableMismatchError, match="session 'mine' exists and belongs to m version 1"):
        client.session(model, "mine", version=version).open()
    assert ids(server) == ["mine"]


def test_before_it_is_open_it_says_how(client: Client) -> None:
    session = client.session("m")
    with pytest.raises(RuntimeError, match=r"use `with client\.session"):
        session.generate("text")


def test_each_request_carries_the_position_and_an_id_of_its_own(server: ScriptedServer, client: Client) -> None:
    with client.session("m", "mine") as session:
        session.generate("ab", checkpoint="first").text()
        session.generate("never read")
        session.generate("c").start()  # and not read to its end
        session.generate("d", wait=True, request_id="once").text()
        session.score("ef")
    first, unread, waiting, scored = server.requests[1:5]
    assert first.state == state_pb2.StateOptions(session_id="mine", expected_position=0, checkpoint="first")
    assert unread.state == state_pb2.StateOptions(session_id="mine", expected_position=4)
    assert waiting.state == state_pb2.StateOptions(session_id="mine", busy_policy=state_pb2.BUSY_POLICY_WAIT)
    assert scored.state.expected_position == session.position - 2
    assert waiting.request_id == "once"
    assert len({request.request_id for request in (first, unread, waiting, scored)}) == 4
    assert first.model == common_pb2.ModelRef(name="m")


@pytest.mark.parametrize("option", [{"snapshot": b"x"}, {"return_snapshot": True}])
def test_a_session_takes_no_snapshot(option: dict[str, Any], client: Client) -> None:
    with client.session("m") as session, pytest.raises(TypeError, match="a session holds its own state"):
        session.generate("text", **option)


def test_forks_and_checkpoints(server: ScriptedServer, client: Client) -> None:
    with client.session("m", "mine") as session:
        session.generate("ab", checkpoint="first").text()
        session.generate("c", checkpoint="second").text()
        with session.fork(checkpoint="first") as early, session.fork(ttl_s=9.0) as late:
            assert (early.position, late.position, session.position) == (4, 6, 6)
            assert [one.name for one in early.info().checkpoints] == ["first"]
        rewound = session.rewind("first")
        assert (rewound.position, session.position) == (4, 4)
        with pytest.raises(CheckpointNotFoundError):
            session.rewind("second")
        assert session.touch(60.0).ttl_s == 60.0
        assert session.touch().ttl_s == 60.0
    forks = [request for request in server.requests if isinstance(request, session_pb2.ForkSessionRequest)]
    assert [fork.expected_position for fork in forks] == [6, 6]
    assert forks[1].ttl.seconds == 9


def test_a_time_to_live_is_a_time(client: Client) -> None:
    for ttl_s in (0.0, -1.0, 1e300, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="ttl_s must be a finite number above 0 s"):
            client.session("m", ttl_s=ttl_s)


def test_a_saved_session_is_loaded_and_only_its_owner_may_read_it(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "romeo.session"
    file.write_bytes(b"what was there before")
    with client.session("m") as session:
        session.generate("ab").text()
        session.save(file)
        assert file.read_bytes() == session.export()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    with client.sessions.load(file) as loaded:
        assert loaded.position == 4
    assert client.sessions.list() == []
    kept = client.sessions.load(file, "kept", ttl_s=5.0)
    assert [(one.id, one.position) for one in client.sessions.list()] == [("kept", 4)]
    with pytest.raises(SessionExistsError):
        client.sessions.load(file, "kept")
    kept.delete()


def test_a_file_that_cannot_be_written_leaves_what_was_there(client: Client, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with client.session("m") as session, pytest.raises(OSError, match="folder"):
        session.save(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_broken_snapshot_is_told(client: Client) -> None:
    with pytest.raises(SnapshotInvalidError):
        client.sessions.restore(b"\xff")


def test_sessions_are_listed_over_all_pages(server: ScriptedServer, client: Client) -> None:
    async def pages(request: session_pb2.ListSessionsRequest) -> session_pb2.ListSessionsResponse:
        assert (request.page_size, request.model) == (1000, "m")
        page = session_pb2.ListSessionsResponse(sessions=[session_pb2.Session(id=request.page_token or "a")])
        page.next_page_token = {"": "b", "b": "c"}.get(request.page_token, "")
        return page

    server.on_session = pages
    assert [session.id for session in client.sessions.list("m")] == ["a", "b", "c"]

    async def same(request: session_pb2.ListSessionsRequest) -> session_pb2.ListSessionsResponse:
        return session_pb2.ListSessionsResponse(next_page_token="again")

    server.on_session = same
    with pytest.raises(ProtocolError, match="list of sessions does not end"):
        client.sessions.list()


def test_what_is_not_there_is_told(client: Client) -> None:
    for call in (client.sessions.get, client.sessions.open, client.sessions.delete):
        with pytest.raises(SessionNotFoundError, match="session 'nobody' does not exist"):
            call("nobody")


def test_a_session_that_is_gone_already_is_no_error_at_the_end(server: ScriptedServer, client: Client) -> None:
    with client.session("m") as session:
        session.delete()
    assert ids(server) == []


def test_answers_that_get_lost_change_nothing(server: ScriptedServer, tmp_path: Path) -> None:
    """Every call about a session is carried out, its answer lost, and made again; nothing happens twice."""
    loses_answers(server)
    with Client(server.target, resume_s=20.0) as client:
        client.models()
        with client.session("m") as session:
            assert ids(server) == [session.id]
            session.generate("ab", checkpoint="first").text()
            assert session.touch(9.0).ttl_s == session.info().ttl_s == 9.0
            with session.fork() as copy, client.sessions.restore(copy.export()) as restored:
                assert len(ids(server)) == 3
                assert restored.position == copy.position == 4
            assert session.rewind("first").position == 4
            assert [one.id for one in client.sessions.list()] == [session.id]
        assert ids(server) == []


def test_without_patience_a_lost_answer_is_told(server: ScriptedServer, client: Client) -> None:
    loses_answers(server)
    with pytest.raises(UnavailableError):
        client.session("m").open()


def test_score_in_a_session_is_asked_again_under_the_same_id(server: ScriptedServer) -> None:
    whole = server.on_score

    async def breaks(request: Any) -> Any:
        if len(server.requests) < 9:  # more often than gRPC itself tries again
            raise GONE
        return await whole(request)

    server.on_score = breaks
    with Client(server.target, resume_s=20.0) as client, client.session("m") as session:
        assert session.score("abc").scored_tokens == 3
        scores = [request for request in server.requests if hasattr(request, "logprobs")]
        assert len(scores) > 4
        assert all(request == scores[0] for request in scores)
        assert session.position == 3


@pytest.mark.timeout(60)
def test_the_blocks_own_error_is_told_and_nobody_waits_for_a_server_that_is_gone(server: ScriptedServer) -> None:
    with Client(server.target, resume_s=3600.0) as client:

        async def removed(request: Message) -> Message:
            raise GONE

        def use() -> None:
            with client.session("m"):
                server.on_session = removed
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            use()


def test_an_end_that_fails_is_told(server: ScriptedServer, client: Client) -> None:
    async def defect(request: Message) -> Message:
        raise Failure(grpc.StatusCode.INTERNAL, "ERROR_REASON_INTERNAL", "a defect")

    def use() -> None:
        with client.session("m"):
            server.on_session = defect

    with pytest.raises(InternalError, match="a defect"):
        use()


def test_busy_is_told(server: ScriptedServer, client: Client) -> None:
    async def busy(request: Any) -> Any:
        raise Failure(grpc.StatusCode.ABORTED, "ERROR_REASON_SESSION_BUSY", "busy")
        yield

    server.on_generate = busy
    with client.session("m") as session, pytest.raises(SessionBusyError):
        session.generate("text").text()


def test_the_principal_goes_with_every_call(server: ScriptedServer) -> None:
    with Client(server.target, principal="ann") as client, client.session("m") as session:
        session.generate("ab").text()
        session.score("c")
        client.tag("m", "text")
    assert set(server.principals) == {"ann"}
    with Client(server.target) as client:
        client.models()
    assert server.principals[-1] is None


@pytest.mark.parametrize("principal", ["", "ann\n", "änn"])
def test_a_principal_is_what_metadata_can_carry(principal: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        Client("localhost", principal=principal)
