"""The server's table from errors to statuses, and the client's from statuses to errors, are each other's inverse."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from seqserve.client import errors as client_errors
from seqserve.client.core import status as client_status
from seqserve.server import errors as server_errors
from seqserve.server.api import status as server_status
from seqserve.server.errors import ServeError
from seqserve.v1.errors_pb2 import ErrorReason


def family(root: type[ServeError]) -> Iterator[type[ServeError]]:
    yield root
    for child in root.__subclasses__():
        yield from family(child)


SERVED = sorted({*family(ServeError)} - {ServeError}, key=lambda each: each.__name__)


def name_on_the_wire(error: type[ServeError]) -> str:
    """Its own name, or its parent's where it has the parent's reason: callers are not told more."""
    parent = error.__base__
    assert parent is not None
    named_by_parent = issubclass(parent, ServeError) and parent is not ServeError and parent.reason == error.reason
    return parent.__name__ if named_by_parent else error.__name__


def received(error: ServeError) -> client_errors.SeqserveError:
    """The error as it arrives at a client."""
    status = server_status.to_status(error)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    metadata = (("date", "today"), (server_status.DETAILS_KEY, status.SerializeToString()))
    return client_status.error_from_status(code, status.message, metadata, target="localhost:50051")


@pytest.mark.parametrize("error", SERVED)
def test_an_error_of_the_server_is_the_same_error_at_the_client(error: type[ServeError]) -> None:
    caught = received(error("what was wrong; and what to do: 国", metadata={"count": "3"}))
    assert type(caught) is getattr(client_errors, name_on_the_wire(error))
    assert caught.message == str(caught) == "what was wrong; and what to do: 国"
    assert caught.reason == f"ERROR_REASON_{error.reason}"
    assert caught.metadata == {"count": "3"}
    assert (caught.violations, caught.resource, caught.retry_after_s) == ((), None, None)


def test_details_arrive_as_they_were_raised() -> None:
    wrong = received(server_errors.InvalidFieldError("top_p is 2", field="sampling.top_p"))
    assert wrong.violations == (client_errors.FieldViolation("sampling.top_p", "top_p is 2"),)
    missing = received(server_errors.ModelNotFoundError("no model", field="model.name", resource=("model", "lm")))
    assert missing.resource == client_errors.Resource("model", "lm")
    full = received(server_errors.QueueFullError("full", retry_after_s=1.25))
    assert full.retry_after_s == 1.25


def test_the_client_knows_every_reason_of_the_contract() -> None:
    known = {reason for _, reason in client_status.ERRORS if reason}
    assert known == {*ErrorReason.keys()} - {"ERROR_REASON_UNSPECIFIED"}
