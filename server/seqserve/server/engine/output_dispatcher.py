"""Brings the engines' outputs into the event loop and wakes the readers at a pace that the machine can bear.

The wire costs more than the model: one message per token would leave the processors little time for the graph. So a
reader is woken when a number of tokens has gathered for it. That number follows the load of the event loop's thread: 1
while there is time to spare, more when the thread takes more than its share of a processor. Nor is a reader woken twice
within an interval that nobody would notice, unless much has gathered. A first token, an end or an error never waits,
and nothing waits for long.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from seqserve.server.engine.output_stream import OutputStream, StepOutputs
from seqserve.server.settings import WireSettings

_TOKENS_MAX = 2  # per message, because of the load
_LATE_TOKENS_MAX = 3  # per message, because the loop is late
_WOKEN_MAX = 4  # readers woken in one turn of the event loop
_PACED_TOKENS_MAX = 16  # per message, because tokens come fast
_TICK_S = 0.001  # by which a timer of the event loop may come early
_WAIT_S_MAX = 0.1  # how long tokens wait for more when no more come
_LAG_S_MAX = 0.02  # between scheduling a callback and its run; above, the loop is too busy
_MEASURE_S = 0.05  # between measurements of the load


class OutputDispatcher:
    """Brings outputs to their streams, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: WireSettings) -> None:
        """Makes a dispatcher for an event loop."""
        self._loop = loop
        self._share, self._pace_s = settings.share, settings.pace_s
        self._inbox: deque[StepOutputs] = deque()
        self._called = False
        self._called_s = self._lag_s = 0.0
        self._tokens = 1  # gathered before a reader is woken
        self._measured_s = self._spent_s = 0.0
        self._late: set[OutputStream] = set()  # have outputs that their readers were not woken for
        self._later: set[OutputStream] = set()  # likewise, since before the last sweep
        self._woken: deque[OutputStream] = deque()  # wait for their turn to be woken
        self._sweeping = False
        self._ticking = False  # a timer collects within the pace

    def publish(self, outputs: StepOutputs) -> None:
        """Hands over the outputs of a step. From any thread."""
        self._inbox.append(outputs)
        if not self._called and (not self._ticking or _is_urgent(outputs)):
            self._called = True
            self._called_s = self._loop.time()
            self._loop.call_soon_threadsafe(self._on_call)

    def _on_call(self) -> None:
        self._called = False  # before the inbox is emptied: later outputs call again
        now_s = self._loop.time()
        self._lag_s = max(self._lag_s, now_s - self._called_s)
        self._collect(now_s)

    def _tick(self) -> None:
        self._ticking = False  # likewise
        if self._inbox or self._late or self._later:
            now_s = self._loop.time()
            self._collect(now_s)
            for stream in [stream for stream in (*self._late, *self._later) if self._is_due(stream, now_s)]:
                self._wake(stream, now_s)

    def _collect(self, now_s: float) -> None:
        self._measure_load(now_s)
        if self._pace_s and not self._ticking:  # a call for each step would cost more than its outputs
            self._ticking = True
            self._loop.call_later(self._pace_s, self._tick)
        while self._inbox:
            for stream, output in self._inbox.popleft():
                if stream.put(output):
                    self._mark_woken(stream, now_s)
                    stream.wake()
                elif self._is_due(stream, now_s):
                    self._wake(stream, now_s)
                elif stream not in self._later:
                    self._late.add(stream)
        if self._late and not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_WAIT_S_MAX / 2, self._sweep)

    def _is_due(self, stream: OutputStream, now_s: float) -> bool:
        """Whether enough has gathered for a message now."""
        gathered, passed_s = stream.gathered, now_s - stream.woken_s
        return gathered >= self._tokens and (passed_s >= self._pace_s - _TICK_S or gathered >= _PACED_TOKENS_MAX)

    def _mark_woken(self, stream: OutputStream, now_s: float) -> None:
        """Records that a reader is woken now, for all outputs so far."""
        self._late.discard(stream)
        self._later.discard(stream)
        stream.woken_s = now_s

    def _wake(self, stream: OutputStream, now_s: float) -> None:
        """Wakes the reader when its turn comes."""
        self._mark_woken(stream, now_s)
        if not self._woken:
            self._loop.call_soon(self._wake_some)
        self._woken.append(stream)

    def _wake_some(self) -> None:
        """Wakes a few readers at a time. Each has a message to write, and new calls must not wait for all of them."""
        for _ in range(min(_WOKEN_MAX, len(self._woken))):
            self._woken.popleft().wake()
        if self._woken:
            self._loop.call_soon(self._wake_some)

    def _measure_load(self, now_s: float) -> None:
        """Lets messages grow or shrink with the load and lag of this thread. Their cost depends on their number."""
        if (passed_s := now_s - self._measured_s) < _MEASURE_S:
            return
        spent_s = time.thread_time()
        load = (spent_s - self._spent_s) / passed_s
        late = self._lag_s > _LAG_S_MAX
        self._measured_s, self._spent_s, self._lag_s = now_s, spent_s, 0.0
        if late or load > self._share:
            self._tokens = min(self._tokens + 1, _LATE_TOKENS_MAX if late else _TOKENS_MAX)
        elif self._tokens > 1 and load * self._tokens / (self._tokens - 1) < self._share:
            self._tokens -= 1

    def _sweep(self) -> None:
        """Wakes the readers of streams that have waited since before the last sweep: no more tokens came."""
        now_s = self._loop.time()
        for stream in [*self._later]:
            self._wake(stream, now_s)
        self._later, self._late = self._late, set()
        self._sweeping = bool(self._later)
        if self._sweeping:
            self._loop.call_later(_WAIT_S_MAX / 2, self._sweep)


def _is_urgent(outputs: StepOutputs) -> bool:
    """Whether there is more than further tokens of texts that have begun."""
    return any(type(item) is not int or not stream.begun for stream, item in outputs)
