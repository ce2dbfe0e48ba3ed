"""The exception for each gRPC status.

One table, the inverse of the server's. A row is found by status code and reason (of the google.rpc.ErrorInfo with
domain "seqserve" in the status details); a status without a known reason falls back to the row of its code alone, so
that a newer server's reasons still land on the right branch of the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from seqserve.client import errors
from seqserve.client.core.channel import proxy_of
from seqserve.client.errors import FieldViolation, Resource, SeqserveError
from seqserve.v1 import errors_pb2

DOMAIN: Final = "seqserve"
"""Domain of the ErrorInfo that a seqserve server sends."""

DETAILS_KEY: Final = "grpc-status-details-bin"
"""Trailing metadata key that carries the serialized google.rpc.Status."""

_Code = grpc.StatusCode
_Reason = errors_pb2.ErrorReason

ERRORS: Final[Mapping[tuple[grpc.StatusCode, str], type[SeqserveError]]] = {
    (_Code.INVALID_ARGUMENT, ""): errors.InvalidArgumentError,
    (_Code.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD"): errors.InvalidFieldError,
    (_Code.INVALID_ARGUMENT, "ERROR_REASON_EMPTY_PROMPT"): errors.EmptyPromptError,
    (_Code.INVALID_ARGUMENT, "ERROR_REASON_OUT_OF_VOCABULARY"): errors.OutOfVocabularyError,
    (_Code.INVALID_ARGUMENT, "ERROR_REASON_INPUT_TOO_LONG"): errors.InputTooLongError,
    (_Code.INVALID_ARGUMENT, "ERROR_REASON_SHAPE_MISMATCH"): errors.ShapeMismatchError,
    (_Code.INVALID_ARGUMENT, "ERROR_REASON_SNAPSHOT_INVALID"): errors.SnapshotInvalidError,
    (_Code.OUT_OF_RANGE, ""): errors.InvalidArgumentError,
    (_Code.NOT_FOUND, ""): errors.NotFoundError,
    (_Code.NOT_FOUND, "ERROR_REASON_MODEL_NOT_FOUND"): errors.ModelNotFoundError,
    (_Code.NOT_FOUND, "ERROR_REASON_VERSION_NOT_FOUND"): errors.VersionNotFoundError,
    (_Code.NOT_FOUND, "ERROR_REASON_SESSION_NOT_FOUND"): errors.SessionNotFoundError,
    (_Code.NOT_FOUND, "ERROR_REASON_SESSION_EXPIRED"): errors.SessionExpiredError,
    (_Code.NOT_FOUND, "ERROR_REASON_CHECKPOINT_NOT_FOUND"): errors.CheckpointNotFoundError,
    (_Code.ALREADY_EXISTS, ""): errors.AlreadyExistsError,
    (_Code.ALREADY_EXISTS, "ERROR_REASON_SESSION_EXISTS"): errors.SessionExistsError,
    (_Code.FAILED_PRECONDITION, ""): errors.PreconditionError,
    (_Code.FAILED_PRECONDITION, "ERROR_REASON_TASK_MISMATCH"): errors.TaskMismatchError,
    (_Code.FAILED_PRECONDITION, "ERROR_REASON_MODEL_NOT_READY"): errors.ModelNotReadyError,
    (_Code.FAILED_PRECONDITION, "ERROR_REASON_POSITION_MISMATCH"): errors.PositionMismatchError,
    (_Code.FAILED_PRECONDITION, "ERROR_REASON_SERVABLE_MISMATCH"): errors.ServableMismatchError,
    (_Code.FAILED_PRECONDITION, "ERROR_REASON_STORE_FAILED"): errors.StoreUnusableError,
    (_Code.FAILED_PRECONDITION, "ERROR_REASON_STREAM_ORDER"): errors.StreamOrderError,
    (_Code.FAILED_PRECONDITION, "ERROR_REASON_NON_FINITE_OUTPUT"): errors.NonFiniteOutputError,
    (_Code.ABORTED, ""): errors.AbortedError,
    (_Code.ABORTED, "ERROR_REASON_SESSION_BUSY"): errors.SessionBusyError,
    (_Code.RESOURCE_EXHAUSTED, ""): errors.ExhaustedError,
    (_Code.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL"): errors.QueueFullError,
    (_Code.RESOURCE_EXHAUSTED, "ERROR_REASON_STORE_FULL"): errors.StoreFullError,
    (_Code.UNAVAILABLE, ""): errors.UnavailableError,
    (_Code.UNAVAILABLE, "ERROR_REASON_DRAINING"): errors.DrainingError,
    (_Code.UNAVAILABLE, "ERROR_REASON_STORE_FAILED"): errors.StoreUnavailableError,
    (_Code.DEADLINE_EXCEEDED, ""): errors.DeadlineError,
    (_Code.DEADLINE_EXCEEDED, "ERROR_REASON_DEADLINE"): errors.DeadlineError,
    (_Code.DEADLINE_EXCEEDED, "ERROR_REASON_STREAM_IDLE"): errors.StreamIdleError,
    (_Code.CANCELLED, ""): errors.CallCancelledError,
    (_Code.UNIMPLEMENTED, ""): errors.UnimplementedError,
    (_Code.UNIMPLEMENTED, "ERROR_REASON_UNIMPLEMENTED"): errors.UnimplementedError,
    (_Code.DATA_LOSS, ""): errors.DataLossError,
    (_Code.DATA_LOSS, "ERROR_REASON_STORE_FAILED"): errors.StoreDataLossError,
    (_Code.INTERNAL, ""): errors.InternalError,
    (_Code.INTERNAL, "ERROR_REASON_INTERNAL"): errors.InternalError,
}


def error_from_status(
    code: grpc.StatusCode,
    details: str,
    trailing_metadata: Iterable[tuple[str, str | bytes]],
    *,
    target: str,
    deadline_s: float | None = None,
) -> SeqserveError:
    """The exception for a call that ended with a status other than OK.

    Args:
        code: Status code of the call.
        details: Status message of the call.
        trailing_metadata: What came with the status; the rich status is in it if a seqserve server sent it.
        target: Address that was called, for the message.
        deadline_s: Seconds that the call was given, for the message; None if it had no deadline.
    """
    info, violations, resource, retry_after_s = _read_details(trailing_metadata)
    if info is None:
        return _error_without_reason(code, details, target=target, deadline_s=deadline_s)
    kind = ERRORS.get((code, info.reason)) or ERRORS.get((code, ""), SeqserveError)
    return kind(
        details or f"the server answered {code.name} with reason {info.reason} and no message",
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        violations=violations,
        resource=resource,
        retry_after_s=retry_after_s,
    )


def _read_details(
    trailing_metadata: Iterable[tuple[str, str | bytes]],
) -> tuple[error_details_pb2.ErrorInfo | None, list[FieldViolation], Resource | None, float | None]:
    """What the google.rpc.Status in the metadata says; nothing if there is none or it is not ours."""
    info: error_details_pb2.ErrorInfo | None = None
    violations: list[FieldViolation] = []
    resource: Resource | None = None
    retry_after_s: float | None = None
    for detail in _status_of(trailing_metadata).details:
        error_info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        resource_info, retry_info = error_details_pb2.ResourceInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(error_info) and error_info.domain == DOMAIN:
            info = error_info
        elif detail.Unpack(bad_request):
            violations += [FieldViolation(one.field, one.description) for one in bad_request.field_violations]
        elif detail.Unpack(resource_info):
            resource = Resource(resource_info.resource_type, resource_info.resource_name)
        elif detail.Unpack(retry_info):
            retry_after_s = retry_info.retry_delay.ToTimedelta().total_seconds()
    return info, violations, resource, retry_after_s


def _status_of(trailing_metadata: Iterable[tuple[str, str | bytes]]) -> status_pb2.Status:
    """The rich status in the metadata; an empty one if there is none, or bytes of something else."""
    for key, value in trailing_metadata:
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()


def _error_without_reason(
    code: grpc.StatusCode, details: str, *, target: str, deadline_s: float | None
) -> SeqserveError:
    """The exception for a status that gRPC itself or a proxy made, in words that say what to look at."""
    kind = ERRORS.get((code, ""), SeqserveError)
    text = details or code.name
    if code is grpc.StatusCode.UNAVAILABLE and _nobody_answered(details):
        kind = errors.UnreachableError
        message = f"no server answers at {target}: is seqserve-server running there?"
        if (proxy := proxy_of(target)) is not None:
            variable, address = proxy
            message = (
                f"no server answers at {target} through the proxy {_without_password(address)} ({variable}): "
                "check the proxy, or add the host to no_proxy to connect directly"
            )
    elif code is grpc.StatusCode.UNAVAILABLE:
        message = f"the connection to {target} broke: {text}"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED and deadline_s is not None:
        message = f"{target} did not finish the call within {deadline_s:g} s"
    elif code is grpc.StatusCode.CANCELLED:
        message = f"the call to {target} was cancelled: {text}"
    elif code is grpc.StatusCode.UNIMPLEMENTED:
        message = f"the server at {target} does not have this method: {text}"
    elif code is grpc.StatusCode.RESOURCE_EXHAUSTED and (sizes := _TOO_LARGE.search(details)):
        return _too_large(sizes)
    else:
        message = f"{target} answered {code.name}: {text}"
    return kind(message, code=code)


_TOO_LARGE: Final = re.compile(
    r"(?P<side>CLIENT|SERVER)?:? ?(?P<action>Received|Sent) message larger than max "
    r"\((?P<size>\d+) vs\.? (?P<limit>\d+)\)"
)
"""How gRPC says that a message is over a limit of one side."""


def _too_large(sizes: re.Match[str]) -> SeqserveError:
    """The exception for a message that one side of the call refused by its size: repeating the call does not help."""
    is_answer = (sizes["side"], sizes["action"]) in {("SERVER", "Sent"), ("CLIENT", "Received")}
    size, limit = int(sizes["size"]), int(sizes["limit"])
    if is_answer:
        message = (
            f"the answer has {size:,} bytes, and a message at most {limit:,}: request less at once (fewer texts, "
            "samples or log-probabilities), or raise the limit (limits.message_bytes_max of the server)"
        )
    else:
        message = (
            f"the request has {size:,} bytes, and the server takes at most {limit:,} in a message: send fewer texts at "
            "once, or raise limits.message_bytes_max of the server"
        )
    return errors.InputTooLongError(
        message, code=grpc.StatusCode.RESOURCE_EXHAUSTED, metadata={"count": str(size), "limit": str(limit)}
    )


def _without_password(address: str) -> str:
    """A proxy's address as it may be printed."""
    return re.sub(r"//[^/@]*@", "//", address)


def _nobody_answered(details: str) -> bool:
    """Whether gRPC's words for UNAVAILABLE mean that no connection was ever made (it has no code for that)."""
    return any(words in details.lower() for words in ("failed to connect", "name resolution", "dns resolution"))


def read_timeout_error(target: str, limit_s: float) -> errors.DeadlineError:
    """The exception for a stream on which no message came within its time-out."""
    return errors.DeadlineError(
        f"{target} sent nothing for {limit_s:g} s (timeout_s)", code=grpc.StatusCode.DEADLINE_EXCEEDED
    )


def error_from_call(error: grpc.RpcError, *, target: str, deadline_s: float | None) -> SeqserveError:
    """The client's exception for one of grpc's, blocking or not."""
    trailing_metadata: Any = error.trailing_metadata()  # pairs in two types of grpc's, or None
    return error_from_status(
        error.code(), error.details() or "", trailing_metadata or (), target=target, deadline_s=deadline_s
    )
