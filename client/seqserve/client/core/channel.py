"""The address of a server, the options of a channel to it, and what every call carries."""

from __future__ import annotations

import json
import math
from typing import Any, Final

PORT_DEFAULT: Final = 50051
TIMEOUT_S_DEFAULT: Final = 60.0
PRINCIPAL_KEY: Final = "seqserve-principal"
"""Metadata key that tells a server who calls."""
MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024

IDEMPOTENT_METHODS: Final = (
    ("seqserve.v1.GenerationService", "Score"),  # with a session it goes under a request id
    ("seqserve.v1.TaggingService", "Tag"),
    ("seqserve.v1.ClassificationService", "Classify"),
    ("seqserve.v1.InfillingService", "FillIn"),
    ("seqserve.v1.ModelService", "ListModels"),
    ("seqserve.v1.ModelService", "GetModel"),
)
"""Unary methods that change nothing on the server: UNAVAILABLE is retried by gRPC within the call's time-out."""

_SERVICE_CONFIG: Final = {
    "methodConfig": [
        {
            "name": [{"service": service, "method": method} for service, method in IDEMPOTENT_METHODS],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # While a call runs, ask every 60 s whether the server is still there, and give it 20 s. A gRPC server cuts clients
    # that ask more often than every 5 minutes; seqserve-server allows it.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # A server that was restarted is found again within seconds (gRPC's own ceiling is two minutes).
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def complete_address(target: str) -> str:
    """The address as gRPC wants it: the default port is added to a host without one.

    Args:
        target: HOST, HOST:PORT, [IPV6]:PORT, or a gRPC name such as "unix:/run/seqserve.sock" or "dns:///host:port".

    Raises:
        ValueError: If it is empty or a web address.
    """
    if not target.strip():
        raise ValueError("the server's address is empty: give HOST:PORT")
    if target.startswith(("http://", "https://")):
        raise ValueError(f"{target!r} is a web address: give HOST:PORT, without {target.partition('//')[0]}//")
    has_port = ":" in target.rpartition("]")[2]
    return target if has_port else f"{target}:{PORT_DEFAULT}"


def metadata_of(principal: str | None) -> tuple[tuple[str, str], ...]:
    """What goes with every call.

    Raises:
        ValueError: If the principal is not what metadata can carry.
    """
    if principal is None:
        return ()
    if not principal or not principal.isascii() or not principal.isprintable():
        raise ValueError(f"principal must be printable ASCII characters, got {principal!r}")
    return ((PRINCIPAL_KEY, principal),)


def limit_or_none(limit_s: float | None) -> float | None:
    """A time limit as gRPC wants it: None where there is none (math.inf).

    Raises:
        ValueError: If it is not above 0.
    """
    if limit_s is not None and not limit_s > 0:
        raise ValueError(f"a time limit must be above 0 s, got {limit_s:g} (math.inf: no limit)")
    return None if limit_s == math.inf else limit_s
