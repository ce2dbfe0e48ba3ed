"""The port of the server: on every address of its host, and the options of its connections."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket

import grpc.aio

from seqserve.server.settings import ConnectionSettings

log = logging.getLogger(__name__)

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def connection_options(settings: ConnectionSettings) -> list[tuple[str, int]]:
    """Returns gRPC's options for the connections of a server."""
    options = [
        ("grpc.so_reuseport", 0),  # with it, two servers could share a port without an error
        ("grpc.max_concurrent_streams", settings.streams_max),
        ("grpc.http2.min_ping_interval_without_data_ms", round(settings.ping_interval_min_s * 1e3)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_connection_age_grace_ms", round(settings.age_grace_s * 1e3)),
    ]
    if settings.keepalive_s:
        options += [
            ("grpc.keepalive_time_ms", round(settings.keepalive_s * 1e3)),
            ("grpc.keepalive_timeout_ms", round(settings.keepalive_timeout_s * 1e3)),
            ("grpc.http2.ping_timeout_ms", round(settings.keepalive_timeout_s * 1e3)),  # else 60 s
            ("grpc.http2.max_pings_without_data", 0),  # by default the third ping of an idle call is not sent
        ]
    for name, limit_s in (("age", settings.age_max_s), ("idle", settings.idle_max_s)):
        if limit_s:
            options.append((f"grpc.max_connection_{name}_ms", round(limit_s * 1e3)))
    return options


def listen_on_all(server: grpc.aio.Server, host: str, port: int) -> int:
    """Listens on every address of a host. gRPC by itself is content with one of them.

    Args:
        server: Not started yet.
        host: A name, or an address; one of IPv6 in brackets.
        port: 0: any free one, the same on all addresses.

    Returns:
        The port.

    Raises:
        OSError: The name is unknown, it has no address on this machine, or the port is taken on one of them.
    """
    bound = False
    for address in _addresses(host):
        if _is_missing(address):
            log.info("%s resolves to %s, which this machine does not have", host, address)
            continue
        place = f"[{address}]" if ":" in address else address
        try:
            port = server.add_insecure_port(f"{place}:{port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {place}:{port}: is the port taken? ({error})") from error
        bound = True
    if not bound:
        raise OSError(f"cannot listen on {host}: this machine has none of its addresses")
    return port


def _addresses(host: str) -> list[str]:
    """Returns the addresses of a host, IPv4 first. Raises: OSError if the name is unknown."""
    literal = host.removeprefix("[").removesuffix("]")
    try:
        return [str(ipaddress.ip_address(literal))]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(f"cannot listen on {host}: the name has no address ({error})") from error
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return sorted(addresses, key=lambda address: ":" in address)


def _is_missing(address: str) -> bool:
    """Returns whether an address cannot be bound because this machine does not have it."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno in _NO_SUCH_ADDRESS
    return False
