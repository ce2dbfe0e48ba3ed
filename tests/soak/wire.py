"""Calls of any method of the contract with serialized messages, and their outcomes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from seqserve.v1 import classification_pb2, generation_pb2, infilling_pb2, model_pb2, session_pb2, tagging_pb2

CALL_S = 60.0
_REPLACED, _REPLACED_S_MAX = "Internal error from Core", 5.0
_Status: TypeAlias = tuple[grpc.StatusCode, str, Any]  # code, details, trailing metadata
_MODULES = (classification_pb2, generation_pb2, infilling_pb2, model_pb2, session_pb2, tagging_pb2)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the contract.

    Attributes:
        name: Name without the service, as in "Generate".
        path: Path of its calls, as in "/seqserve.v1.GenerationService/Generate".
        request: Descriptor of its requests.
        streaming: Whether the caller sends a stream.
    """

    name: str
    path: str
    request: Descriptor
    streaming: bool


def _method(descriptor: MethodDescriptor) -> Method:
    path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
    return Method(descriptor.name, path, descriptor.input_type, descriptor.client_streaming)


METHODS = {
    method.name: _method(method)
    for module in _MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a call.

    Attributes:
        code: Status code.
        message: Status message.
        reason: Reason in ErrorInfo; empty if there is none.
        responses: Serialized responses.
    """

    code: grpc.StatusCode
    message: str
    reason: str
    responses: Sequence[bytes]

    @property
    def fault(self) -> str:
        """Why the outcome breaks the contract; empty if it does not."""
        if self.code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
            return f"{self.code.name}: {self.message}"
        if self.code is not grpc.StatusCode.OK and not self.reason:
            return f"{self.code.name} without a reason: {self.message}"
        return ""


class Caller:
    """Makes calls on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def call(
        self,
        method: Method,
        messages: Sequence[bytes],
        *,
        cancel_after: int | None = None,
        deadline_s: float = CALL_S,
    ) -> Outcome:
        """Makes one call and reads it to its end.

        Args:
            method: The method.
            messages: Serialized requests; exactly one unless the method streams.
            cancel_after: Cancel after this number of responses; None to read all of them.
            deadline_s: Deadline of the call, in seconds.
        """
        # Every kind of method has the same form on the wire, so that one kind of call does for all.
        stub: Any = self._channel.stream_stream(method.path)
        call = stub(iter(messages), timeout=deadline_s)
        status = _ServerStatus(call)
        responses: list[bytes] = []
        try:
            async for response in call:
                responses.append(response)
                if cancel_after is not None and len(responses) > cancel_after:
                    call.cancel()
                    return Outcome(grpc.StatusCode.OK, "cancelled by the caller", "", responses)
        except grpc.aio.AioRpcError as error:
            code, details, metadata = await status.behind(error)
            return Outcome(code, details, _reason(metadata), responses)
        except asyncio.CancelledError:
            if not call.cancelled():
                raise
            return Outcome(grpc.StatusCode.OK, "cancelled by the caller", "", responses)
        return Outcome(grpc.StatusCode.OK, "", "", responses)


class _ServerStatus:
    """The status that the server sent.

    gRPC replaces it by one with the details "Internal error from Core" when a write fails because the server has ended
    the call (https://github.com/grpc/grpc/issues/36066).
    """

    def __init__(self, call: Any) -> None:
        self._status: asyncio.Future[_Status] = asyncio.get_running_loop().create_future()
        call.add_done_callback(self._note)

    async def behind(self, error: grpc.aio.AioRpcError) -> _Status:
        """Returns the status of the server behind an error of gRPC."""
        if error.details() == _REPLACED:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self._status, _REPLACED_S_MAX)
        return error.code(), error.details() or "", error.trailing_metadata()

    def _note(self, call: Any) -> None:
        details = _result_now(call.details()) or ""
        if details != _REPLACED and not self._status.done():
            self._status.set_result((_result_now(call.code()), details, _result_now(call.trailing_metadata())))


def _result_now(coroutine: Any) -> Any:
    """Returns the result of a coroutine that does not wait: the next moment the status may be replaced."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("the coroutine waits")


def _reason(metadata: Any) -> str:
    details = dict(metadata or ()).get("grpc-status-details-bin", b"")
    if not isinstance(details, bytes):
        return ""
    try:
        status = status_pb2.Status.FromString(details)
    except DecodeError:
        return ""
    info = error_details_pb2.ErrorInfo()
    return next((info.reason for detail in status.details if detail.Unpack(info)), "")
