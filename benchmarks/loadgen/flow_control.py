"""What may be sent on an HTTP/2 connection now, and what waits for room: flow control (RFC 9113, section 5.2).

Bytes only; framing and sockets are `http2`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_WINDOW = 65_535
DEFAULT_FRAME_MAX = 16_384


@dataclass(slots=True)
class _Stream:
    """One stream. room: bytes that its window still takes, below 0 after the peer has made windows smaller."""

    room: int
    waiting: bytes = b""
    ends: bool = False  # after what waits


@dataclass(frozen=True, slots=True)
class Part:
    """What goes into one DATA frame of a stream; the last one if it ends."""

    stream: int
    data: bytes
    ends: bool


class Outbox:
    """The windows of a connection and of its streams, and the bytes that have no room yet."""

    def __init__(self) -> None:
        self.room = DEFAULT_WINDOW
        self.frame_max = DEFAULT_FRAME_MAX
        self._initial = DEFAULT_WINDOW
        self._streams: dict[int, _Stream] = {}

    def open(self, stream: int) -> None:
        """Begin a stream."""
        self._streams[stream] = _Stream(self._initial)

    def drop(self, stream: int) -> None:
        """Forget a stream, and what waits for it."""
        self._streams.pop(stream, None)

    def send(self, stream: int, data: bytes, *, ends: bool = False) -> list[Part]:
        """Add bytes of an open stream. Returns: the parts that may go now, of this stream."""
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
        """Take a WINDOW_UPDATE; stream 0 is the connection. Returns: the parts that may go now."""
        if stream == 0:
            self.room += size
        elif stream in self._streams:
            self._streams[stream].room += size
        return self._release_all()

    def resize(self, initial: int) -> list[Part]:
        """Take another initial window, which moves those of open streams too. Returns: the parts that may go now."""
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
