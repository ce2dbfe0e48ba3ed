"""Prometheus metrics, all in one place. They are read from the engines and the store when they are scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from seqserve.server.engine.stats import EngineStats
from seqserve.server.repository import Entry, EntryState
from seqserve.server.sessions import SessionMaintenance
from seqserve.server.stores import InstrumentedStore

_COUNTERS: dict[str, tuple[str, Callable[[EngineStats], int]]] = {
    "seqserve_requests": ("Requests admitted.", lambda counts: counts.requests),
    "seqserve_refused_requests": ("Requests refused because the queue was full.", lambda counts: counts.refused),
    "seqserve_decode_steps": (
        "Runs of the graph with one step for each sequence of the decode batch.",
        lambda counts: counts.decode_steps,
    ),
    "seqserve_prefill_steps": ("Prefill runs of the graph.", lambda counts: counts.prefill_steps),
    "seqserve_generated_tokens": ("Tokens generated.", lambda counts: counts.generated_tokens),
    "seqserve_prefill_padded_tokens": (
        "Steps times sequences of the prefill runs, including padding.",
        lambda counts: counts.prefill_padded_tokens,
    ),
    "seqserve_prefill_tokens": (
        "Tokens consumed in prefill runs, without padding.",
        lambda counts: counts.prefill_tokens,
    ),
    "seqserve_failed_steps": ("Runs of the graph that failed.", lambda counts: counts.failed_steps),
    "seqserve_failed_sequences": (
        "Sequences that failed because the model's outputs for them were not finite.",
        lambda counts: counts.failed_rows,
    ),
    "seqserve_prefix_hits": ("Prompts with a prefix in the prefix cache.", lambda counts: counts.prefix_hits),
    "seqserve_prefix_misses": ("Prompts without a prefix in the prefix cache.", lambda counts: counts.prefix_misses),
    "seqserve_prefix_hit_tokens": (
        "Prompt tokens that the prefix cache saved.",
        lambda counts: counts.prefix_hit_tokens,
    ),
}

_GAUGES: dict[str, tuple[str, Callable[[EngineStats], int]]] = {
    "seqserve_waiting_sequences": ("Sequences in the queue.", lambda counts: counts.waiting),
    "seqserve_prefilling_sequences": ("Sequences in prefill.", lambda counts: counts.prefilling),
    "seqserve_decoding_sequences": ("Sequences in the decode batch.", lambda counts: counts.decoding),
    "seqserve_paused_sequences": ("Sequences that wait for their callers to read.", lambda counts: counts.paused),
    "seqserve_open_streams": ("Open client streams, including idle ones.", lambda counts: counts.open_streams),
}


class EngineCollector(Collector):
    """Metrics of all loaded versions, labelled with model and version."""

    def __init__(self, entries: Callable[[], list[Entry]]) -> None:
        self._entries = entries

    def collect(self) -> Iterator[Metric]:
        """Yields the current values."""
        serving = [(entry, entry.model.engine.stats()) for entry in self._entries() if entry.model is not None]
        labels = ["model", "version"]
        for kinds, family in ((_COUNTERS, CounterMetricFamily), (_GAUGES, GaugeMetricFamily)):
            for name, (meaning, read) in kinds.items():
                metric = family(name, meaning, labels=labels)
                for entry, counts in serving:
                    metric.add_metric([entry.name, str(entry.version)], read(counts))
                yield metric
        ready = GaugeMetricFamily(
            "seqserve_model_ready", "1 if the version takes requests, otherwise 0.", labels=labels
        )
        for entry in self._entries():
            ready.add_metric([entry.name, str(entry.version)], entry.state is EntryState.READY)
        yield ready


_SESSION_COUNTERS: dict[str, tuple[str, Callable[[SessionMaintenance], int]]] = {
    "seqserve_sessions_created": (
        "Sessions created, including copies and imports.",
        lambda maintenance: maintenance.counts.created,
    ),
    "seqserve_sessions_expired": (
        "Sessions that expired.",
        lambda maintenance: maintenance.counts.expired,
    ),
    "seqserve_sessions_evicted": ("Sessions evicted to make room.", lambda maintenance: maintenance.usage.evicted),
    "seqserve_sessions_restored": ("Sessions created from snapshots.", lambda maintenance: maintenance.counts.restored),
    "seqserve_sessions_forked": ("Sessions copied.", lambda maintenance: maintenance.counts.forked),
    "seqserve_sessions_resumed": (
        "Interrupted generations that were resumed.",
        lambda maintenance: maintenance.counts.resumed,
    ),
}

_SESSION_GAUGES: dict[str, tuple[str, Callable[[SessionMaintenance], int]]] = {
    "seqserve_sessions_live": (
        "Sessions in the store at the last sweep.",
        lambda maintenance: maintenance.usage.sessions,
    ),
    "seqserve_sessions_bytes": ("Size of these sessions, in bytes.", lambda maintenance: maintenance.usage.bytes),
}


class SessionCollector(Collector):
    """Metrics of sessions and of their store."""

    def __init__(self, maintenance: SessionMaintenance, store: InstrumentedStore) -> None:
        self._maintenance = maintenance
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Yields the current values."""
        for kinds, family in ((_SESSION_COUNTERS, CounterMetricFamily), (_SESSION_GAUGES, GaugeMetricFamily)):
            for name, (meaning, read) in kinds.items():
                yield family(name, meaning, value=read(self._maintenance))
        yield from self._store.seconds.collect()


class MetricsServer:
    """Serves GET /metrics.

    Attributes:
        address: HOST:PORT on which it listens.
    """

    def __init__(self, listen: str, *collectors: Collector) -> None:
        """Starts to listen.

        Args:
            listen: HOST:PORT. Port 0: any free one.
            *collectors: Sources of the metrics.

        Raises:
            OSError: The address is not available.
        """
        registry = CollectorRegistry()
        for collector in collectors:
            registry.register(collector)
        host, _, port = listen.rpartition(":")
        started: tuple[WSGIServer, Thread] = start_http_server(int(port), host, registry)
        self._server, self._thread = started
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
