"""Errors on the wire: one table from kinds to status codes, and one interceptor that uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from seqserve.server.errors import ErrorKind, InternalError, ServeError, UnimplementedError
from seqserve.v1.errors_pb2 import ErrorReason

DOMAIN = "seqserve"
DETAILS_KEY = "grpc-status-details-bin"
_TEXT_BYTES_MAX = 768  # three times in a status, one of them percent-encoded, stay below 8 KiB

CODES: dict[ErrorKind, grpc.StatusCode] = {
    ErrorKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    ErrorKind.ABORTED: grpc.StatusCode.ABORTED,
    ErrorKind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.DATA_LOSS: grpc.StatusCode.DATA_LOSS,
    ErrorKind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    ErrorKind.INTERNAL: grpc.StatusCode.INTERNAL,
}


def to_status(error: ServeError) -> status_pb2.Status:
    """The error as google.rpc.Status: ErrorInfo always; BadRequest, RetryInfo and ResourceInfo where they apply."""
    reason = ErrorReason.Name(ErrorReason.Value(f"ERROR_REASON_{error.reason}"))  # fails for a name not in the contract
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=error.metadata)]
    if error.field is not None and error.kind is ErrorKind.INVALID:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=_short(error.message))
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.resource is not None:
        sort, name = error.resource
        details.append(error_details_pb2.ResourceInfo(resource_type=sort, resource_name=_short(name)))
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    code: int = CODES[error.kind].value[0]
    return status_pb2.Status(code=code, message=_short(error.message), details=[_packed(detail) for detail in details])


def _short(text: str) -> str:
    """The text, cut where it is too long for a status: a client refuses metadata of more than 8 KiB altogether."""
    data = text.encode("utf-8")
    return text if len(data) <= _TEXT_BYTES_MAX else data[:_TEXT_BYTES_MAX].decode("utf-8", "ignore") + "…"


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


async def _abort(error: Exception, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
    if isinstance(error, NotImplementedError):  # what generated servicers raise
        error = UnimplementedError(f"this server does not implement {method}")
    elif isinstance(error, grpc.aio.InternalError):  # of a write: the caller has gone, which is no defect
        error = InternalError("the answer could not be written")
    elif not isinstance(error, ServeError):
        error = InternalError.logged(method, error)
    status = to_status(error)
    metadata = ((DETAILS_KEY, status.SerializeToString()),)
    try:
        await context.abort(CODES[error.kind], status.message, trailing_metadata=metadata)
    except grpc.aio.InternalError:  # the caller went before it read this
        raise asyncio.CancelledError from None


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Turns what a handler raises into a status. Cancellation passes through: a handler that hid it would leak."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if not method.startswith("/seqserve.") or handler is None:
            return handler
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[bool(handler.request_streaming), bool(handler.response_streaming)]
        behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        return make(
            _guarded(behavior, method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _guarded(behavior: Any, method: str) -> Any:
    """The handler with its errors turned into statuses. Handlers are coroutines: streams are written to the context."""

    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await behavior(request, context)
        except Exception as error:  # noqa: BLE001 - the one place where any error becomes a status
            await _abort(error, method, context)

    return call
