"""Converts errors to gRPC statuses: a table from kinds to codes, and the interceptor that uses it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from seqserve.server.api.idle_timeout import IdleTimeout
from seqserve.server.api.undecodable import UndecodableLog, UndecodableMessage, tolerant_deserializer
from seqserve.server.errors import ErrorKind, InternalError, ServeError, StreamIdleError, UnimplementedError
from seqserve.v1.errors_pb2 import ErrorReason

# All other BaseExceptions are errors too: those of panics in libraries that are written in Rust.
_NOT_ERRORS = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)

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
    """Converts an error to google.rpc.Status: ErrorInfo, and BadRequest, RetryInfo, ResourceInfo where they apply."""
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
    """Truncates a text that is too long for a status: clients reject metadata of more than 8 KiB."""
    data = text.encode("utf-8")
    return text if len(data) <= _TEXT_BYTES_MAX else data[:_TEXT_BYTES_MAX].decode("utf-8", "ignore") + "…"


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


async def _abort(error: BaseException, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
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
    """Turns the exceptions of handlers into statuses, and ends streams whose caller does not read.

    Handlers of streams are async generators, also after this interceptor, so that other interceptors can wrap them.
    Cancellation passes through.
    """

    def __init__(self, unread_s: float, fields_max: int) -> None:
        """Stores the argument.

        Args:
            unread_s: How long a response waits until the caller has read enough to leave room for it, in seconds.
            fields_max: Maximum number of fields of a request, without those of the messages in it.
        """
        self._fields_max = fields_max
        self._unread_s = unread_s
        self._undecodable_log = UndecodableLog()
        self._streams = 0  # whose handlers run
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._endings: set[asyncio.Task[None]] = set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the handler of a call."""
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
        guarded = self._guarded_stream if handler.response_streaming else _guarded
        return make(
            guarded(behavior, method),
            request_deserializer=tolerant_deserializer(
                handler.request_deserializer, method, self._undecodable_log, self._fields_max
            ),
            response_serializer=handler.response_serializer,
        )

    async def streams_ended(self) -> None:
        """Waits until the handlers of all streams have ended.

        gRPC does not close the generator of a call that is cancelled while a response is being written. Python closes
        it in a task, which may run after the call.
        """
        await self._none_left.wait()

    def _guarded_stream(self, behavior: Any, method: str) -> Any:
        """Returns the handler of a stream with its exceptions turned into statuses and its writes limited in time."""

        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncGenerator[Any]:
            unread = IdleTimeout(self._unread_s, functools.partial(self._end_unread, context))
            self._streams += 1
            self._none_left.clear()
            try:
                if isinstance(request, UndecodableMessage):
                    raise request.error()
                async with aclosing(behavior(request, context)) as responses:
                    async for response in responses:
                        with unread:  # gRPC writes the response before it asks for the next one
                            yield response
            except _NOT_ERRORS:
                raise
            except BaseException as error:  # noqa: BLE001 - the one place where any error of a stream becomes a status
                await _abort(error, method, context)
            finally:
                unread.close()
                self._streams -= 1
                if not self._streams:
                    self._none_left.set()

        return call

    def _end_unread(self, context: grpc.aio.ServicerContext[Any, Any], task: asyncio.Task[Any]) -> None:
        """Ends a call whose caller does not read: queues the status, then cancels the write and with it the handler."""
        error = StreamIdleError(
            f"the caller has not read responses of this stream for {self._unread_s:g} s, so it was ended; read them as "
            "they come, or raise the server's limits.stream_unread_s"
        )
        ending = asyncio.create_task(_abort_quietly(error, context))  # its first step comes before the cancellation
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        asyncio.get_running_loop().call_soon(task.cancel)


async def _abort_quietly(error: ServeError, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    with suppress(grpc.aio.AbortError, grpc.aio.UsageError, asyncio.CancelledError):  # the call may be over already
        await _abort(error, "", context)


def _guarded(behavior: Any, method: str) -> Any:
    """Returns the handler of a unary method with its exceptions turned into statuses."""

    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            if isinstance(request, UndecodableMessage):
                raise request.error()
            return await behavior(request, context)
        except _NOT_ERRORS:
            raise
        except BaseException as error:  # noqa: BLE001 - the one place where any error becomes a status
            await _abort(error, method, context)

    return call
