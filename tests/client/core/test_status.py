"""Every failure on the wire becomes its exception, the same for both clients."""

import datetime as dt
import inspect
import pickle
from typing import Any

import grpc
import pytest

from seqserve.client import (
    AsyncClient,
    Client,
    FieldViolation,
    InvalidArgumentError,
    InvalidFieldError,
    PositionMismatchError,
    ProtocolError,
    QueueFullError,
    Resource,
    SeqserveError,
    SessionExpiredError,
    UnavailableError,
    UnreachableError,
    errors,
)
from seqserve.client.core.status import ERRORS, error_from_status
from seqserve.client.testing import Failure, ScriptedServer
from seqserve.v1 import errors_pb2, tagging_pb2

ROWS = [pytest.param(*key, kind, id=f"{key[0].name}-{key[1] or 'bare'}") for key, kind in ERRORS.items()]


def fails_with(failure: Failure) -> Any:
    async def fail(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        raise failure

    return fail


def every_class() -> set[type[SeqserveError]]:
    found, new = {SeqserveError}, {SeqserveError}
    while new:
        new = {below for kind in new for below in kind.__subclasses__()}
        found |= new
    return found


@pytest.mark.parametrize(("code", "reason", "kind"), ROWS)
async def test_each_row_of_the_table_over_the_wire(
    code: grpc.StatusCode,
    reason: str,
    kind: type[SeqserveError],
    async_server: ScriptedServer,
    async_client: AsyncClient,
) -> None:
    async_server.on_tag = fails_with(Failure(code, reason, "what a person reads"))
    with pytest.raises(SeqserveError) as caught:
        await async_client.tag("m", "text")
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.reason) == (code, reason)
    if reason:
        assert caught.value.message == str(caught.value) == "what a person reads"


def test_a_blocking_call_raises_with_all_that_the_server_said(server: ScriptedServer, client: Client) -> None:
    server.on_tag = fails_with(
        Failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "ERROR_REASON_INVALID_FIELD",
            "top_labels is 21, at most 20",
            metadata={"limit": "20"},
            violations=[FieldViolation("outputs.top_labels", "at most 20")],
            resource=Resource("model", "m"),
        )
    )
    with pytest.raises(InvalidFieldError) as caught:
        client.tag("m", "text")
    error = caught.value
    assert error.metadata == {"limit": "20"}
    assert error.violations == (FieldViolation("outputs.top_labels", "at most 20"),)
    assert error.resource == Resource("model", "m")
    assert error.retry_after_s is None
    assert isinstance(error.__cause__, grpc.RpcError)


def test_a_full_queue_tells_when_to_come_back(server: ScriptedServer, client: Client) -> None:
    failure = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL", "256 waiting", retry_after_s=0.25)
    server.on_tag = fails_with(failure)
    with pytest.raises(QueueFullError) as caught:
        client.tag("m", "text")
    assert caught.value.retry_after_s == 0.25


def test_every_reason_of_the_contract_has_a_row() -> None:
    in_contract = set(errors_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}
    assert {reason for _, reason in ERRORS if reason} == in_contract


def test_every_row_lies_on_the_branch_of_its_code() -> None:
    for (code, _), kind in ERRORS.items():
        assert issubclass(kind, ERRORS[code, ""])


def test_a_reason_of_a_newer_server_falls_back_to_its_code() -> None:
    failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_FROM_THE_FUTURE", "no")
    metadata = [("grpc-status-details-bin", failure.status.SerializeToString())]
    error = error_from_status(grpc.StatusCode.INVALID_ARGUMENT, "no", metadata, target="t")
    assert type(error) is InvalidArgumentError
    assert error.reason == "ERROR_REASON_FROM_THE_FUTURE"


@pytest.mark.parametrize("value", [b"\xff\xff not a status", "text"])
def test_details_that_are_not_ours_are_ignored(value: str | bytes) -> None:
    error = error_from_status(grpc.StatusCode.NOT_FOUND, "gone", [("grpc-status-details-bin", value)], target="host:1")
    assert str(error) == "host:1 answered NOT_FOUND: gone"
    assert error.reason == ""


@pytest.mark.parametrize(
    ("details", "kind", "message"),
    [
        ("failed to connect to all addresses; last error: x", UnreachableError, "no server answers at host:1: is "),
        ("DNS resolution failed for host:1", UnreachableError, "no server answers at host:1: is "),
        ("Socket closed", UnavailableError, "the connection to host:1 broke: Socket closed"),
    ],
)
def test_a_lost_connection_says_what_to_look_at(details: str, kind: type[SeqserveError], message: str) -> None:
    error = error_from_status(grpc.StatusCode.UNAVAILABLE, details, [], target="host:1")
    assert type(error) is kind
    assert message in str(error)


def test_errors_survive_pickling() -> None:
    error = PositionMismatchError("at 5, not 7", code=grpc.StatusCode.FAILED_PRECONDITION, metadata={"actual": "5"})
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    assert type(copy) is PositionMismatchError
    assert vars(copy) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    lines = inspect.getdoc(errors).split("\n")  # type: ignore[union-attr]
    above: list[str] = []
    drawn = 0
    for line in lines:
        indent, branch, rest = line.strip("\n").partition("── ")
        if not branch:
            continue
        depth, name = (len(indent.rstrip("├└")) - 4) // 4, rest.split()[0]
        above[depth:] = [name]
        parent = above[depth - 1] if depth else "SeqserveError"
        assert getattr(errors, name).__base__.__name__ == parent, f"{name} is drawn below {parent}"
        drawn += 1
    assert drawn == len(every_class()) - 1


def test_every_error_but_the_clients_own_can_come_off_the_wire() -> None:
    assert every_class() - set(ERRORS.values()) == {SeqserveError, UnreachableError, ProtocolError}


def test_what_a_session_error_knows_is_at_hand() -> None:
    elsewhere = PositionMismatchError("no", metadata={"position": "7", "expected_position": "5"})
    assert (elsewhere.position, elsewhere.expected_position) == (7, 5)
    assert PositionMismatchError("no").position is None
    expired = SessionExpiredError("no", metadata={"expire_time": "2026-01-02T03:04:05.678+00:00"})
    assert expired.expire_time == dt.datetime(2026, 1, 2, 3, 4, 5, 678000, dt.UTC)
    assert SessionExpiredError("no").expire_time is None
