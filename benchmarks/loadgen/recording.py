"""Measurements of the load generator: tokens, gaps, times to the first token, outcomes, processor time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from benchmarks.harness import processes
from benchmarks.loadgen.messages import tokens_in

OK, RESOURCE_EXHAUSTED = 0, 8

Json: TypeAlias = dict[str, Any]


class Recorder:
    """Measures all calls between `begin` and `end`."""

    def __init__(self, server_pid: int | None = None) -> None:
        """Args: server_pid: Process whose processor time and memory are read at both ends; None reads neither."""
        self.measuring = False
        self.tokens = 0
        self.messages = 0
        self.gaps_s: list[float] = []
        self.first_s: list[float] = []
        self.outcomes: Counter[int] = Counter()
        self.seconds = 0.0
        self._pid = server_pid
        self._client_cpu_s = 0.0
        self._server_cpu_s = 0.0
        self._thread_cpu_s: dict[int, float] = {}
        self._rss_mib = (0.0, 0.0)

    def begin(self) -> None:
        """Starts measuring."""
        self._read_server(-1)
        self._client_cpu_s = -time.process_time()
        self.seconds = -time.perf_counter()
        self.measuring = True

    def end(self) -> None:
        """Stops measuring."""
        self.measuring = False
        self.seconds += time.perf_counter()
        self._client_cpu_s += time.process_time()
        self._read_server(1)

    def result(self) -> Json:
        """Returns the measurements as JSON, per token where that is more useful."""
        tokens, messages = max(1, self.tokens), max(1, self.messages)
        result: Json = {
            "seconds": self.seconds,
            "tokens": self.tokens,
            "messages": self.messages,
            "tokens_s": self.tokens / self.seconds,
            "tokens_per_message": tokens / messages,
            "gap_ms": percentiles_ms(self.gaps_s),
            "first_token_ms": percentiles_ms(self.first_s),
            "done": self.outcomes[OK],
            "failed": {str(status): count for status, count in sorted(self.outcomes.items()) if status != OK},
            "client_cpu_us_per_message": 1e6 * self._client_cpu_s / messages,
        }
        if self._pid is not None:
            threads = {tid: cpu_s for tid, cpu_s in self._thread_cpu_s.items() if cpu_s > 0}
            event_loop_s = threads.pop(self._pid, 0.0)
            result["server"] = {
                "cpu_us_per_token": 1e6 * self._server_cpu_s / tokens,
                "cpu_cores": self._server_cpu_s / self.seconds,
                "main_thread_us_per_token": 1e6 * event_loop_s / tokens,
                "other_threads_us_per_token": [1e6 * s / tokens for s in sorted(threads.values(), reverse=True)[:4]],
                "rss_mib_before": self._rss_mib[0],
                "rss_mib_after": self._rss_mib[1],
            }
        return result

    def _read_server(self, sign: int) -> None:
        if self._pid is None:
            return
        self._server_cpu_s += sign * processes.cpu_s(self._pid)
        for tid, cpu_s in processes.thread_cpu_s(self._pid).items():
            self._thread_cpu_s[tid] = self._thread_cpu_s.get(tid, 0.0) + sign * cpu_s
        rss_mib = processes.rss_mib(self._pid)
        self._rss_mib = (rss_mib, rss_mib) if sign < 0 else (self._rss_mib[0], rss_mib)


class Call:
    """One running call of the load generator."""

    __slots__ = ("_on_end", "_recorder", "last_s", "measured_tokens", "messages", "started_s")

    def __init__(self, recorder: Recorder, on_end: Callable[[Call, int, float], None]) -> None:
        self._recorder = recorder
        self._on_end = on_end
        self.started_s = time.perf_counter()
        self.last_s: float | None = None
        self.messages = 0
        self.measured_tokens = 0

    def message(self, payload: bytes, now_s: float) -> None:
        """Records a message; only pieces count. The first piece ends no gap."""
        tokens = tokens_in(payload)
        if not tokens:
            return
        recorder, last_s = self._recorder, self.last_s
        self.last_s = now_s
        self.messages += 1
        if recorder.measuring:
            recorder.tokens += tokens
            recorder.messages += 1
            self.measured_tokens += tokens
            if last_s is None:
                recorder.first_s.append(now_s - self.started_s)
            else:
                recorder.gaps_s.append(now_s - last_s)

    def ended(self, status: int, now_s: float) -> None:
        """Records the outcome of the call."""
        if self._recorder.measuring:
            self._recorder.outcomes[status] += 1
        self._on_end(self, status, now_s)


def percentiles_ms(times_s: Sequence[float]) -> Json:
    """Returns median, 99th percentile and maximum in milliseconds; empty for no times."""
    if not times_s:
        return {}
    p50, p99, highest = np.percentile(times_s, (50, 99, 100)) * 1e3
    return {"p50": float(p50), "p99": float(p99), "max": float(highest), "count": len(times_s)}
