"""Callers with an open stream each: send one token, await its answer, send the next token."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol

from benchmarks.loadgen.http2 import Handler
from benchmarks.loadgen.recording import OK, Json, Recorder, percentiles_ms
from benchmarks.loadgen.stream_messages import PIECE, STARTED, StreamKind

GIVE_UP_S = 60.0


class Sending(Protocol):
    """The sending side of a call."""

    def send(self, message: bytes, *, ends: bool = False) -> None:
        """Sends a message; with ``ends`` it is the last."""


class StreamWire(Protocol):
    """Connections to one server for calls of one method."""

    def open(self, handler: Handler) -> Sending:
        """Starts a call that sends messages while it runs."""


class RoundTrips:
    """N streams in a closed loop. Each round trip counts as a token of the recorder."""

    def __init__(self, wire: StreamWire, recorder: Recorder, kind: StreamKind, streams: int, seed: int) -> None:
        self.kind = kind
        self._wire = wire
        self._recorder = recorder
        self._streams = streams
        self._random = random.Random(seed)
        self._trips_left = -1
        self._running = 0
        self._failed: int | None = None
        self._stopping = False
        self._stop = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self, warmup_s: float, seconds: float, requests_max: int = 0) -> Json:
        """Measures for ``seconds``, or until ``requests_max`` round trips unless that is 0; then ends every stream.

        Raises:
            RuntimeError: A stream ended early or with an error.
            TimeoutError: A stream did not end.
        """
        self._running = self._streams
        for _ in range(self._streams):
            _Stream(self, self._wire)
        await self._wait(warmup_s)
        self._recorder.begin()
        self._trips_left = requests_max or -1
        await self._wait(seconds)
        self._recorder.end()
        self._stopping = True
        async with asyncio.timeout(GIVE_UP_S):
            await self._over.wait()
        if self._failed is not None:
            raise RuntimeError(f"a stream ended with status {self._failed}")
        return self._recorder.result() | {"round_trip_ms": percentiles_ms(self._recorder.gaps_s)}

    def answered(self, took_s: float) -> bytes | None:
        """Records a round trip. Returns the next message to send, or None to end the stream."""
        recorder = self._recorder
        if recorder.measuring:
            recorder.tokens += 1
            recorder.messages += 1
            recorder.gaps_s.append(took_s)
            self._trips_left -= 1
            if self._trips_left == 0:
                self._stop.set()
        return None if self._stopping else self._random.choice(self.kind.tokens)

    def ended(self, status: int) -> None:
        """Records the end of a stream."""
        self._running -= 1
        if status != OK or not self._stopping:
            self._failed = status
            self._stop.set()
        if self._running == 0 or self._failed is not None:
            self._over.set()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass


class _Stream:
    """One caller and its stream."""

    __slots__ = ("_sender", "_sent_s", "_trips")

    def __init__(self, trips: RoundTrips, wire: StreamWire) -> None:
        self._trips = trips
        self._sent_s = 0.0
        self._sender = wire.open(self)
        self._sender.send(trips.kind.opening)

    def message(self, payload: bytes, now_s: float) -> None:
        """Sends the next token after an answer."""
        kind = self._trips.kind
        if payload[0] == STARTED:
            self._send(kind.first)
        elif payload[0] == PIECE:
            following = self._trips.answered(now_s - self._sent_s)
            if following is None:
                self._sender.send(kind.ending, ends=True)
            else:
                self._send(following)

    def ended(self, status: int, now_s: float) -> None:
        """Reports the outcome of the stream."""
        del now_s
        self._trips.ended(status)

    def _send(self, message: bytes) -> None:
        self._sent_s = time.perf_counter()
        self._sender.send(message)
