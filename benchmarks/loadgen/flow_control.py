"""HTTP/2 flow control (RFC 9113, section 5.2): which bytes a connection may send now, and which have to wait.

Handles bytes only; `http2` does framing and sockets.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_WINDOW = 65_535
DEFAULT_FRAME_MAX = 16_384


@dataclass(slots=True)
class _Stream:
    """One stream.

    Attributes:
        room: Bytes that its window still takes; negative after the peer has reduced the initial window.
        waiting: Bytes that wait for room.
        ends: The stream ends after the waiting bytes.
    """

    room: int
    waiting: bytes = b""
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """The content of one DATA frame.

    Attributes:
        stream: Id of the stream.
        data: Payload.
        ends: This is the last frame of the stream.
    """

    stream: int
    data: bytes
    ends: bool


class Outbox:
    """The windows of a connection and of its streams, and the bytes that wait for room."""

    def __init__(self) -> None:
        self.room = DEFAULT_WINDOW
        self.frame_max = DEFAULT_FRAME_MAX
        self._initial = DEFAULT_WINDOW
        self._streams: dict[int, _Stream] = {}

    def open(self, stream: int) -> None:
        """Adds a stream."""
        self._streams[stream] = _Stream(self._initial)

    def drop(self, stream: int) -> None:
        """Removes a stream and its waiting bytes."""
        self._streams.pop(stream, None)

    def send(self, stream: int, data: bytes, *, ends: bool = False) -> list[Part]:
        """Adds bytes of an open stream. Returns the parts of this stream that may be sent now."""
        one = self._streams[stream]
        size = len(data)
        if not one.waiting and size <= one.room and size <= self.room and size <= self.frame_max:  # nearly always
            one.room -= size
            self.room -= size
            return [Part(stream, data, ends)]
        one.waiting += data
        one.ends = one.ends or ends
        return self._release(stream, one)

    def grow(self, stream: int, size: int) -> list[Part]:
        """Applies a WINDOW_UPDATE; stream 0 is the connection. Returns the parts that may be sent now."""
        if stream == 0:
            self.room += size
        elif stream in self._streams:
            self._streams[stream].room += size
        return self._release_all()

    def resize(self, initial: int) -> list[Part]:
        """Changes the initial window, also of open streams. Returns the parts that may be sent now."""
        for one in self._streams.values():
            one.room += initial - self._initial
        self._initial = initial
        return self._release_all()

    def _release_all(self) -> list[Part]:
        return [part for stream, one in self._streams.items() if one.waiting for part in self._release(stream, one)]

    def _release(self, stream: int, one: _Stream) -> list[Part]:
        parts: list[Part] = []
        while one.waiting and (size := min(one.room, self.room, self.frame_max, len(one.waiting))) > 0:
            data, one.waiting = one.waiting[:size], one.waiting[size:]
            one.room -= size
            self.room -= size
            parts.append(Part(stream, data, one.ends and not one.waiting))
        return parts
