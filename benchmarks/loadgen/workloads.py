"""Workloads of the load generator: closed loop, open loop, cancelled calls, long prompts among running streams."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from benchmarks.loadgen.messages import request
from benchmarks.loadgen.recording import OK, RESOURCE_EXHAUSTED, Call, Json, Recorder, percentiles_ms
from benchmarks.loadgen.wires import Wire

CANCEL_AFTER_MESSAGES = 3
CANCEL_WARMUP_MAX = 1_000
"""Cancelled calls before memory is first read: the allocator's pools fill during some hundred of them."""
SETTLE_S = 1.0
LONG_PROMPT_CHARACTERS = 2_000
ENDLESS_TOKENS = 90_000
QUIET_S = 1.0
GIVE_UP_S = 60.0
FILL_CHUNK, FILL_MAX, FILL_PAUSE_S = 16, 4096, 0.05


class ClosedLoop:
    """N callers that send the next request as soon as the last one is answered.

    The first request of each caller has a random length, so that callers do not stay synchronized.
    """

    def __init__(
        self, wire: Wire, recorder: Recorder, callers: int, tokens: int, seed: int, *, in_sessions: bool = False
    ) -> None:
        """Args: in_sessions: Every request creates a session and leaves its state there."""
        self._wire = wire
        self._recorder = recorder
        self._callers = callers
        self._tokens = tokens
        self._random = random.Random(seed)
        self._in_sessions = in_sessions
        self._requests_left = -1
        self._ended = asyncio.Event()

    async def run(self, warmup_s: float, seconds: float, requests_max: int = 0) -> Json:
        """Measures for ``seconds``, or until ``requests_max`` requests have ended unless that is 0."""
        for _ in range(self._callers):
            self._send(self._random.randint(1, self._tokens))
        await asyncio.sleep(warmup_s)
        self._recorder.begin()
        self._requests_left = requests_max or -1
        await _wait(self._ended, seconds)
        self._recorder.end()
        return self._recorder.result()

    def _send(self, tokens: int) -> None:
        message = request(self._random.getrandbits(40), tokens, in_session=self._in_sessions)
        self._wire.start(message, Call(self._recorder, self._on_end))

    def _on_end(self, call: Call, status: int, now_s: float) -> None:
        del call, now_s
        self._requests_left -= 1
        if self._requests_left == 0:
            self._ended.set()
        if status == OK:
            self._send(self._tokens)
        else:  # counted by the recorder; back off when the server refuses
            asyncio.get_running_loop().call_later(0.1, self._send, self._tokens)


class OpenLoop:
    """Poisson arrivals, independent of how fast the server answers."""

    def __init__(self, wire: Wire, recorder: Recorder, rate: float, tokens: int, seed: int) -> None:
        """Args: rate: Arrivals per second."""
        self._wire = wire
        self._recorder = recorder
        self._rate = rate
        self._tokens = tokens
        self._random = random.Random(seed)
        self._lost_tokens = 0
        self._any_refused = False
        self._refused_s: list[float] = []
        self._late_s: list[float] = []
        self._done_s: list[float] = []

    async def run(self, warmup_s: float, seconds: float, requests_max: int = 0, *, fill: bool = False) -> Json:
        """Measures for ``seconds``, or for ``requests_max`` arrivals unless that is 0.

        With ``fill``, the server's queue is full before the first arrival; otherwise that would take minutes.

        Goodput counts the tokens of requests that were answered or are in progress at the end. The time to refuse
        extends from sending to the status.
        """
        if fill:
            await self._fill()
        arrivals = asyncio.create_task(self._arrive(requests_max or -1))
        await asyncio.sleep(warmup_s)
        self._recorder.begin()
        await asyncio.wait([arrivals], timeout=seconds)
        self._recorder.end()
        arrivals.cancel()
        result = self._recorder.result()
        return result | {
            "offered": len(self._late_s),
            "refused": self._recorder.outcomes[RESOURCE_EXHAUSTED],
            "goodput_tokens_s": (self._recorder.tokens - self._lost_tokens) / self._recorder.seconds,
            "refuse_ms": percentiles_ms(self._refused_s),
            "done_ms": percentiles_ms(self._done_s),
            "late_ms": percentiles_ms(self._late_s),
        }

    async def _fill(self) -> None:
        """Sends requests until one is refused."""
        for _ in range(FILL_MAX // FILL_CHUNK):
            if self._any_refused:
                return
            for _ in range(FILL_CHUNK):
                self._start()
            await asyncio.sleep(FILL_PAUSE_S)

    async def _arrive(self, left: int) -> None:
        due_s = time.perf_counter()
        while left:
            left -= 1
            due_s += self._random.expovariate(self._rate)
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            started_s = self._start()
            if self._recorder.measuring:
                self._late_s.append(started_s - due_s)

    def _start(self) -> float:
        call = Call(self._recorder, self._on_end)
        self._wire.start(request(self._random.getrandbits(40), self._tokens), call)
        return call.started_s

    def _on_end(self, call: Call, status: int, now_s: float) -> None:
        self._any_refused = self._any_refused or status == RESOURCE_EXHAUSTED
        if status != OK:
            self._lost_tokens += call.measured_tokens
        if self._recorder.measuring:
            if status == OK:
                self._done_s.append(now_s - call.started_s)
            elif status == RESOURCE_EXHAUSTED:
                self._refused_s.append(now_s - call.started_s)


class Cancelling:
    """Callers that cancel after a few messages and call again."""

    def __init__(self, wire: Wire, recorder: Recorder, callers: int, seed: int) -> None:
        self._wire = wire
        self._recorder = recorder
        self._callers = callers
        self._random = random.Random(seed)
        self._failed = 0

    async def run(self, count: int) -> Json:
        """Cancels up to 1,000 calls, reads the server's memory, cancels ``count`` more calls, reads it again."""
        await self._cancel(min(count, CANCEL_WARMUP_MAX))
        await asyncio.sleep(SETTLE_S)
        self._recorder.begin()
        await self._cancel(count)
        await asyncio.sleep(SETTLE_S)
        self._recorder.end()
        return self._recorder.result() | {"cancelled": count - self._failed}

    async def _cancel(self, count: int) -> None:
        self._failed = 0
        remaining = iter(range(count))

        async def caller() -> None:
            for _ in remaining:  # shared: the callers take turns
                await self._one()

        await asyncio.gather(*(caller() for _ in range(min(self._callers, count))))

    async def _one(self) -> None:
        received = asyncio.Event()

        def on_piece(call: _Watched, _now_s: float) -> None:
            if call.messages >= CANCEL_AFTER_MESSAGES:
                received.set()

        call = _Watched(self._recorder, on_piece, on_end=received.set)
        cancel = self._wire.start(request(self._random.getrandbits(40), ENDLESS_TOKENS), call)
        await _wait(received, GIVE_UP_S)
        self._failed += call.messages < CANCEL_AFTER_MESSAGES
        cancel()


class LongPrompt:
    """Running streams, and a long prompt that arrives among them."""

    def __init__(self, wire: Wire, recorder: Recorder, callers: int, seed: int) -> None:
        self._wire = wire
        self._recorder = recorder
        self._callers = callers
        self._random = random.Random(seed)
        self._last_s: dict[Call, float] = {}
        self._gaps_s: list[float] = []

    async def run(self, count: int) -> Json:
        """Sends ``count`` long prompts one after the other, each after a quiet second.

        Reports for each: the longest gap of any running stream, from the arrival of the prompt until shortly after its
        first token, divided by the median gap of the quiet second.
        """
        running = [self._start(ENDLESS_TOKENS, 16, self._gap) for _ in range(self._callers)]
        async with asyncio.timeout(GIVE_UP_S):
            for call in running:
                await call.begun.wait()
        await asyncio.sleep(QUIET_S)
        self._recorder.begin()
        pauses: list[Json] = []
        for _ in range(count):
            self._gaps_s.clear()
            await asyncio.sleep(QUIET_S)
            quiet_s = list(self._gaps_s)
            self._gaps_s.clear()
            long = self._start(1, LONG_PROMPT_CHARACTERS, None)
            async with asyncio.timeout(GIVE_UP_S):
                await long.begun.wait()
            first_s = time.perf_counter() - long.started_s
            await asyncio.sleep(5 * max(quiet_s))  # includes the gap that is open now
            median_s = float(np.median(quiet_s))
            pauses.append(
                {
                    "median_gap_ms": 1e3 * median_s,
                    "quiet_longest_gap_ms": 1e3 * max(quiet_s),
                    "longest_pause_ms": 1e3 * max(self._gaps_s),
                    "pause_over_gap": max(self._gaps_s) / median_s,
                    "long_prompt_first_token_ms": 1e3 * first_s,
                }
            )
        self._recorder.end()
        return self._recorder.result() | {"pauses": pauses}

    def _start(self, tokens: int, prompt: int, on_piece: OnPiece | None) -> _Watched:
        call = _Watched(self._recorder, on_piece)
        self._wire.start(request(self._random.getrandbits(40), tokens, prompt), call)
        return call

    def _gap(self, call: Call, now_s: float) -> None:
        self._gaps_s.append(now_s - self._last_s.get(call, now_s))
        self._last_s[call] = now_s


class _Watched(Call):
    """A call that reports each piece."""

    __slots__ = ("_at_end", "_on_piece", "begun")

    def __init__(self, recorder: Recorder, on_piece: OnPiece | None, on_end: Callable[[], None] | None = None) -> None:
        super().__init__(recorder, self._ended)
        self._on_piece = on_piece
        self._at_end = on_end
        self.begun = asyncio.Event()

    def message(self, payload: bytes, now_s: float) -> None:
        """Records a message."""
        before = self.messages
        super().message(payload, now_s)
        if self.messages > before:
            self.begun.set()
            if self._on_piece is not None:
                self._on_piece(self, now_s)

    def _ended(self, _call: Call, _status: int, _now_s: float) -> None:
        if self._at_end is not None:
            self._at_end()


OnPiece: TypeAlias = Callable[[_Watched, float], None]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Waits for an event for at most ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
