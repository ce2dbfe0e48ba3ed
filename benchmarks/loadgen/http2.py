"""Calls of one streaming method over HTTP/2, spoken by hand: what gRPC puts on the wire, and no more.

The server streams its answers; the caller sends one message (`Connection.start`) or as many as it wants
(`Connection.open`).

A load generator on the server's own cores takes from the server what it uses itself; this uses a quarter of what
grpc.aio does for a message (figures in `loadgen.load`). It leaves out what a benchmark on loopback does not need:
TLS, compression, keepalive, flow control of what it receives (windows are as wide as they get: 2 GiB a connection) and
HPACK (the table is set to size 0, and only grpc-status is looked for). The server's windows are honoured (`sending`).

Frames: RFC 9113, sections 4 and 6. Messages: a byte 0 and their length in four bytes before them.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterable
from typing import Protocol, cast

from benchmarks.loadgen.flow_control import DEFAULT_WINDOW, Outbox, Part

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
CANCEL = 0x8
_WINDOW_MAX = 2**31 - 1
_STATUS_UNAVAILABLE = 14
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_INITIAL_WINDOW, _FRAME_MAX = 4, 5
_NO_TABLE, _NO_PUSH, _STREAM_WINDOW = (1, 0), (2, 0), (_INITIAL_WINDOW, _WINDOW_MAX)


class Handler(Protocol):
    """What a call tells its caller; times are of time.perf_counter."""

    def message(self, payload: bytes, now_s: float) -> None:
        """A message has come."""

    def ended(self, status: int, now_s: float) -> None:
        """The call has ended, with a gRPC status code; not called after a cancel."""


class Connection(asyncio.Protocol):
    """One connection and its calls."""

    def __init__(self, method: str, authority: str) -> None:
        self._headers = _header_block(method, authority)
        self._handlers: dict[int, Handler] = {}
        self._parts: dict[int, bytes] = {}  # beginnings of messages, by stream
        self._rest = b""  # the beginning of a frame
        self._next_stream = 1
        self._outbox = Outbox()
        self._transport: asyncio.Transport | None = None

    def start(self, request: bytes, handler: Handler) -> Callable[[], None]:
        """Begin a call that sends one message. Returns: what cancels it."""
        call = self.open(handler)
        call.send(request, ends=True)
        return call.cancel

    def open(self, handler: Handler) -> Sender:
        """Begin a call that sends messages while it runs."""
        assert self._transport is not None
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._handlers[stream] = handler
        self._outbox.open(stream)
        self._transport.write(_frame(HEADERS, END_HEADERS, stream, self._headers))
        return Sender(self, stream)

    def send(self, stream: int, message: bytes, *, ends: bool) -> None:
        """Send a message of a call, and end the caller's side if it is the last; see `Sender`."""
        if stream in self._handlers:
            self._write(self._outbox.send(stream, b"\0" + struct.pack(">I", len(message)) + message, ends=ends))

    def cancel(self, stream: int) -> None:
        """End a call; see `Sender`."""
        if stream in self._handlers and self._transport is not None:
            self._forget(stream)
            self._transport.write(_frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))

    def close(self) -> None:
        """Close the connection and forget its calls."""
        self._handlers.clear()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet; called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)
        settings = b"".join(struct.pack(">HI", *setting) for setting in (_NO_TABLE, _NO_PUSH, _STREAM_WINDOW))
        wide = struct.pack(">I", _WINDOW_MAX - DEFAULT_WINDOW)
        self._transport.write(_PREFACE + _frame(SETTINGS, 0, 0, settings) + _frame(WINDOW_UPDATE, 0, 0, wide))

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is left; called by asyncio."""
        del exc
        left, self._handlers = self._handlers, {}
        for handler in left.values():
            handler.ended(_STATUS_UNAVAILABLE, time.perf_counter())

    def data_received(self, data: bytes) -> None:
        """Take frames apart; called by asyncio."""
        now_s = time.perf_counter()
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        handlers = self._handlers
        while size - at >= 9:
            kind, flags, stream = data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9])
            end = at + 9 + int.from_bytes(data[at : at + 3])
            if end > size:
                break
            if kind == DATA:
                if stream in handlers:
                    self._messages(stream, data[at + 9 : end], handlers[stream], now_s)
            elif kind in (HEADERS, RST_STREAM):
                if (flags & END_STREAM or kind == RST_STREAM) and stream in handlers:
                    self._forget(stream).ended(_status(data[at + 9 : end]), now_s)
            else:
                self._control(kind, flags, stream, data[at + 9 : end])
            at = end
        self._rest = data[at:]

    def _messages(self, stream: int, data: bytes, handler: Handler, now_s: float) -> None:
        """The messages that end in a DATA frame: nearly always exactly one."""
        if stream in self._parts:
            data = self._parts.pop(stream) + data
        at, size = 0, len(data)
        while size - at >= 5:
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5])
            if end > size:
                break
            handler.message(data[at + 5 : end], now_s)
            at = end
        if at < size:
            self._parts[stream] = data[at:]

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert self._transport is not None
        if kind == PING and not flags & ACK:
            self._transport.write(_frame(PING, ACK, 0, payload))
        elif kind == SETTINGS and not flags & ACK:
            settings: dict[int, int] = dict(struct.iter_unpack(">HI", payload))
            self._transport.write(_frame(SETTINGS, ACK, 0, b""))  # before what they permit
            self._outbox.frame_max = settings.get(_FRAME_MAX, self._outbox.frame_max)
            if _INITIAL_WINDOW in settings:
                self._write(self._outbox.resize(settings[_INITIAL_WINDOW]))
        elif kind == WINDOW_UPDATE:
            self._write(self._outbox.grow(stream, int.from_bytes(payload)))

    def _write(self, parts: Iterable[Part]) -> None:
        assert self._transport is not None
        for part in parts:
            self._transport.write(_frame(DATA, END_STREAM * part.ends, part.stream, part.data))

    def _forget(self, stream: int) -> Handler:
        self._parts.pop(stream, None)
        self._outbox.drop(stream)
        return self._handlers.pop(stream)


class Sender:
    """The sending side of a call. Once it has ended, these do nothing."""

    __slots__ = ("_connection", "_stream")

    def __init__(self, connection: Connection, stream: int) -> None:
        self._connection = connection
        self._stream = stream

    def send(self, message: bytes, *, ends: bool = False) -> None:
        """Send a message, now or when there is room for it; with ``ends`` it is the last."""
        self._connection.send(self._stream, message, ends=ends)

    def cancel(self) -> None:
        """End the call; its handler hears nothing more."""
        self._connection.cancel(self._stream)


async def connect(address: str, method: str) -> Connection:
    """Open a connection to HOST:PORT for calls of one method."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(method, address), host, int(port))
    return connection


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _header_block(method: str, authority: str) -> bytes:
    """The header fields of every call, by the static table (RFC 7541, appendix A) and never indexed."""
    post, scheme_http = b"\x83", b"\x86"
    path, host = b"\x04" + _text(method), b"\x01" + _text(authority)
    content_type = b"\x0f\x10" + _text("application/grpc")  # index 31 in a prefix of 4 bits
    return post + scheme_http + path + host + content_type + b"\x00" + _text("te") + _text("trailers")


def _text(value: str) -> bytes:
    """A string of fewer than 127 bytes, not Huffman-coded."""
    assert len(value) < 127
    return bytes((len(value),)) + value.encode("ascii")


def _status(block: bytes) -> int:
    """The value of grpc-status in a block of trailers; UNAVAILABLE if there is none."""
    _, found, rest = block.partition(b"grpc-status")
    return int(rest[1 : 1 + rest[0]]) if found else _STATUS_UNAVAILABLE
