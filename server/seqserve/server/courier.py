"""Carries the engines' outputs into the event loop, and wakes the readers at a pace that the machine can bear.

The wire costs more than the model: a message a token would leave the processors little time for the graph. So readers
are woken together, and the next time only after a pause in proportion to what the last time cost the event loop's
thread. A lone stream costs little and is woken at every token; with many streams the messages grow. A first token, an
end or an error never waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from seqserve.server.errors import ServeError
from seqserve.server.stream import Output, OutputStream, Result

_PAUSE_S_MAX = 0.05

Published = list[tuple[OutputStream, Output | Result | ServeError]]


class Courier:
    """Brings outputs to their streams, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, share: float) -> None:
        """Args: share: part of one processor that waking readers and writing may take, in (0, 1]; 1: never pause."""
        self._loop = loop
        self._pause_factor = 1 / share - 1
        self._inbox: deque[Published] = deque()
        self._called = False
        self._late: set[OutputStream] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0
        self._spent_s = 0.0

    def publish(self, published: Published) -> None:
        """Hand over what a step gave. From any thread."""
        self._inbox.append(published)
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        self._called = False  # before the inbox is read: what comes later calls again
        while self._inbox:
            for stream, output in self._inbox.popleft():
                if stream.put(output):
                    self._late.discard(stream)
                    stream.wake()
                else:
                    self._late.add(stream)
        if self._late and self._timer is None:
            delay_s = self._next_s - self._loop.time()
            if delay_s <= 0:
                self._wake_late()
            else:
                self._timer = self._loop.call_later(delay_s, self._wake_late)

    def _wake_late(self) -> None:
        """Wake all that wait. What the thread spent since the last time is what that time cost."""
        self._timer = None
        spent_s = time.thread_time()
        pause_s = min((spent_s - self._spent_s) * self._pause_factor, _PAUSE_S_MAX)
        self._next_s = self._loop.time() + pause_s
        self._spent_s = spent_s
        for stream in self._late:
            stream.wake()
        self._late.clear()
