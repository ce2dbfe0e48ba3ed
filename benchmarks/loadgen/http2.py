"""A minimal gRPC client on HTTP/2, for calls of one streaming method.

The server streams its answers; the caller sends one message (`Connection.start`) or several (`Connection.open`).

A load generator on the server's cores takes processor time from the server. This client uses a quarter of the time of
grpc.aio per message (figures in `loadgen.load`). It omits everything that a benchmark on loopback does not need: TLS,
compression, keepalive, flow control of received data (windows have the maximum size, 2 GiB per connection) and HPACK
(the table size is 0, and only grpc-status is read). It respects the server's windows (`flow_control`).

Frames: RFC 9113, sections 4 and 6. Messages: a byte 0 and a length of four bytes precede the payload.
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
    """The receiving side of a call; times are those of time.perf_counter."""

    def message(self, payload: bytes, now_s: float) -> None:
        """Handles a message."""

    def ended(self, status: int, now_s: float) -> None:
        """Handles the end of the call with a gRPC status code. Not called after a cancel."""


class Connection(asyncio.Protocol):
    """One connection and its calls."""

    def __init__(self, method: str, authority: str) -> None:
        self._headers = _header_block(method, authority)
        self._handlers: dict[int, Handler] = {}
        self._parts: dict[int, bytes] = {}  # incomplete messages, by stream
        self._rest = b""  # an incomplete frame
        self._next_stream = 1
        self._outbox = Outbox()
        self._transport: asyncio.Transport | None = None

    def start(self, request: bytes, handler: Handler) -> Callable[[], None]:
        """Starts a call that sends one message. Returns a function that cancels it."""
        call = self.open(handler)
        call.send(request, ends=True)
        return call.cancel

    def open(self, handler: Handler) -> Sender:
        """Starts a call that sends messages while it runs."""
        assert self._transport is not None
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._handlers[stream] = handler
        self._outbox.open(stream)
        self._transport.write(_frame(HEADERS, END_HEADERS, stream, self._headers))
        return Sender(self, stream)

    def send(self, stream: int, message: bytes, *, ends: bool) -> None:
        """Sends a message of a call, and half-closes the call after the last one; see `Sender`."""
        if stream in self._handlers:
            self._write(self._outbox.send(stream, b"\0" + struct.pack(">I", len(message)) + message, ends=ends))

    def cancel(self, stream: int) -> None:
        """Cancels a call; see `Sender`."""
        if stream in self._handlers and self._transport is not None:
            self._forget(stream)
            self._transport.write(_frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))

    def close(self) -> None:
        """Closes the connection and drops its calls."""
        self._handlers.clear()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the preface; called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)
        settings = b"".join(struct.pack(">HI", *setting) for setting in (_NO_TABLE, _NO_PUSH, _STREAM_WINDOW))
        wide = struct.pack(">I", _WINDOW_MAX - DEFAULT_WINDOW)
        self._transport.write(_PREFACE + _frame(SETTINGS, 0, 0, settings) + _frame(WINDOW_UPDATE, 0, 0, wide))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the remaining calls; called by asyncio."""
        del exc
        remaining, self._handlers = self._handlers, {}
        for handler in remaining.values():
            handler.ended(_STATUS_UNAVAILABLE, time.perf_counter())

    def data_received(self, data: bytes) -> None:
        """Parses frames; called by asyncio."""
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
        """Handles the messages that end in a DATA frame: nearly always exactly one."""
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
            self._transport.write(_frame(SETTINGS, ACK, 0, b""))  # before data that the new settings permit
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
    """The sending side of a call. After the end of the call its methods do nothing."""

    __slots__ = ("_connection", "_stream")

    def __init__(self, connection: Connection, stream: int) -> None:
        self._connection = connection
        self._stream = stream

    def send(self, message: bytes, *, ends: bool = False) -> None:
        """Sends a message as soon as flow control permits it; with ``ends`` it is the last."""
        self._connection.send(self._stream, message, ends=ends)

    def cancel(self) -> None:
        """Cancels the call; its handler is not called any more."""
        self._connection.cancel(self._stream)


async def connect(address: str, method: str) -> Connection:
    """Opens a connection to HOST:PORT for calls of one method."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(method, address), host, int(port))
    return connection


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _header_block(method: str, authority: str) -> bytes:
    """Encodes the header fields of every call with the static table (RFC 7541, appendix A), without indexing."""
    post, scheme_http = b"\x83", b"\x86"
    path, host = b"\x04" + _text(method), b"\x01" + _text(authority)
    content_type = b"\x0f\x10" + _text("application/grpc")  # index 31 in a prefix of 4 bits
    return post + scheme_http + path + host + content_type + b"\x00" + _text("te") + _text("trailers")


def _text(value: str) -> bytes:
    """Encodes a string of fewer than 127 bytes, without Huffman coding."""
    assert len(value) < 127
    return bytes((len(value),)) + value.encode("ascii")


def _status(block: bytes) -> int:
    """Reads grpc-status in a block of trailers; UNAVAILABLE if it is absent."""
    _, name, rest = block.partition(b"grpc-status")
    return int(rest[1 : 1 + rest[0]]) if name else _STATUS_UNAVAILABLE
