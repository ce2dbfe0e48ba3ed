"""The address of a server, the options of a channel to it, and what every call carries."""

from __future__ import annotations

import ipaddress
import json
import math
import os
import re
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


def is_local(target: str) -> bool:
    """Whether an address is a socket or a loopback address of this machine.

    Args:
        target: Address as `complete_address` returns it.
    """
    if target.startswith(("unix:", "unix-abstract:", "vsock:")):
        return True
    host = _host(target)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def channel_options(target: str) -> tuple[tuple[str, Any], ...]:
    """`CHANNEL_OPTIONS`, and no HTTP proxy for addresses of this machine.

    Args:
        target: Address as `complete_address` returns it.
    """
    return (*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0)) if is_local(target) else CHANNEL_OPTIONS


def proxy_of(target: str) -> tuple[str, str] | None:
    """The environment variable and the HTTP proxy through which gRPC calls an address; None if it calls it directly.

    Args:
        target: Address as `complete_address` returns it.
    """
    if is_local(target):
        return None
    proxy = next(((name, os.environ[name]) for name in _PROXY_VARIABLES if os.environ.get(name)), None)
    excluded = next((os.environ[name] for name in _NO_PROXY_VARIABLES if os.environ.get(name)), "")
    host = _host(target)
    if any(host.endswith(suffix.strip().lower()) for suffix in excluded.split(",") if suffix.strip()):
        return None
    return proxy


_PROXY_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")  # in the order in which gRPC looks them up
_NO_PROXY_VARIABLES: Final = ("no_grpc_proxy", "no_proxy")


def _host(target: str) -> str:
    """The host of an address, without scheme, brackets and port."""
    rest = re.sub(r"^(dns:(//[^/]*/)?|ipv4:|ipv6:)", "", target)
    bracketed = re.match(r"\[([^\]]*)\]", rest)
    return (bracketed[1] if bracketed else rest.rpartition(":")[0] or rest).lower()


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
