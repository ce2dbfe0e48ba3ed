"""Health of a server, by the protocol that orchestrators use (grpc.health.v1)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from grpc_health.v1 import health_pb2

HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"
"""Path of the method."""


class HealthStatus(StrEnum):
    """Health status of a server, or of one of its services."""

    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    """It is starting or stopping."""
    SERVICE_UNKNOWN = "SERVICE_UNKNOWN"
    """It has no service of that name."""
    UNKNOWN = "UNKNOWN"


def health_from_wire(message: health_pb2.HealthCheckResponse) -> HealthStatus:
    """The status as a value."""
    if message.status == health_pb2.HealthCheckResponse.SERVING:
        return HealthStatus.SERVING
    if message.status == health_pb2.HealthCheckResponse.NOT_SERVING:
        return HealthStatus.NOT_SERVING
    return HealthStatus.UNKNOWN
