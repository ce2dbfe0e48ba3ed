"""Errors that a scripted server answers with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Never, TypeAlias

import grpc
import grpc.aio
from google.protobuf import message as protobuf
from google.rpc import error_details_pb2, status_pb2

from seqserve.client.core.status import DETAILS_KEY, DOMAIN
from seqserve.client.errors import FieldViolation, Resource

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Failure(Exception):  # noqa: N818 - what a server answers with, not an error of the test
    """Raise it in a script: the call ends with this status.

    Args:
        code: gRPC status code.
        reason: Name of a seqserve.v1.ErrorReason. Empty: a bare status, as gRPC itself or a proxy sends.
        message: Status message.
        metadata: Facts that go with the reason.
        violations: Fields that are wrong.
        resource: What the error is about.
        retry_after_s: When trying again can help, in seconds.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str = "",
        message: str = "scripted",
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        resource: Resource | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status_pb2.Status(code=code.value[0], message=message)
        details: list[protobuf.Message] = []
        if reason:
            details.append(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=dict(metadata or {})))
        if violations:
            field_violation = error_details_pb2.BadRequest.FieldViolation
            wrong = [field_violation(field=one.field, description=one.description) for one in violations]
            details.append(error_details_pb2.BadRequest(field_violations=wrong))
        if resource is not None:
            details.append(error_details_pb2.ResourceInfo(resource_type=resource.kind, resource_name=resource.name))
        if retry_after_s is not None:
            retry_info = error_details_pb2.RetryInfo()
            retry_info.retry_delay.FromNanoseconds(round(retry_after_s * 1e9))
            details.append(retry_info)
        for detail in details:
            self.status.details.add().Pack(detail)

    async def answer(self, context: Context) -> Never:
        """End the call with this status."""
        metadata = ((DETAILS_KEY, self.status.SerializeToString()),) if self.status.details else ()
        await context.abort(self.code, self.message, metadata)
