"""Carries the engines' outputs into the event loop, and wakes the readers at a pace that the machine can bear.

The wire costs more than the model: a message a token would leave the processors little time for the graph. So readers
are woken together, after a step, and the next time not before a pause in proportion to what the last time cost the
event loop's thread. A lone stream costs little and is woken at every token; with many streams the messages grow. A
first token, an end or an error never waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from seqserve.server.errors import ServeError
from seqserve.server.stream import Output, OutputStream, Result

_PAUSE_S_MAX = 0.02

Published = list[tuple[OutputStream, int | Output | Result | ServeError]]


class Courier:
    """Brings outputs to their streams, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, share: float) -> None:
        """Args: share: part of one processor that waking readers and writing may take, in (0, 1]."""
        self._loop = loop
        self._share = share
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
        late = self._late
        while self._inbox:
            for stream, output in self._inbox.popleft():
                if stream.put(output):
                    late.discard(stream)
                    stream.wake()
                else:
                    late.add(stream)
        if late:
            now_s = self._loop.time()
            if now_s >= self._next_s:  # else with a later step, which makes the messages longer
                self._wake_late()
            elif self._timer is None:  # there may be no later step
                self._timer = self._loop.call_later(_PAUSE_S_MAX, self._wake_late)

    def _wake_late(self) -> None:
        """Wake all that wait. What the thread spent since the last time is what that time cost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        spent_s = time.thread_time()
        pause_s = min((spent_s - self._spent_s) / self._share, _PAUSE_S_MAX)
        self._next_s = self._loop.time() + pause_s
        self._spent_s = spent_s
        for stream in self._late:
            stream.wake()
        self._late.clear()
