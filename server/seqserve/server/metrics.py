"""What a server tells a Prometheus: all names in one place, read from the engines when they are asked for."""

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
    "seqserve_decode_steps": ("Runs of the graph that gave one token a row.", lambda counts: counts.decode_steps),
    "seqserve_prefill_steps": ("Runs of the graph over known inputs.", lambda counts: counts.prefill_steps),
    "seqserve_generated_tokens": ("Tokens generated.", lambda counts: counts.generated_tokens),
    "seqserve_prefill_padded_tokens": (
        "Steps times rows of these runs: what is more than the steps consumed is padding.",
        lambda counts: counts.prefill_padded_tokens,
    ),
    "seqserve_prefill_tokens": ("Known steps consumed in runs of their own.", lambda counts: counts.prefill_tokens),
    "seqserve_failed_steps": ("Runs of the graph that failed.", lambda counts: counts.failed_steps),
    "seqserve_prefix_hits": ("Prompts whose beginning was in the prefix cache.", lambda counts: counts.prefix_hits),
    "seqserve_prefix_misses": ("Prompts whose beginning was not.", lambda counts: counts.prefix_misses),
    "seqserve_prefix_hit_tokens": ("Prompt tokens that were not read again.", lambda counts: counts.prefix_hit_tokens),
}

_GAUGES: dict[str, tuple[str, Callable[[EngineStats], int]]] = {
    "seqserve_waiting_sequences": ("Sequences in line.", lambda counts: counts.waiting),
    "seqserve_prefilling_sequences": ("Sequences whose inputs are being read.", lambda counts: counts.prefilling),
    "seqserve_decoding_sequences": ("Sequences in the decoding batch.", lambda counts: counts.decoding),
    "seqserve_paused_sequences": ("Sequences whose readers lag behind.", lambda counts: counts.paused),
    "seqserve_open_streams": ("Client streams that are open, resting ones too.", lambda counts: counts.open_streams),
}


class EngineCollector(Collector):
    """Metrics of every model that serves, labelled with model and version."""

    def __init__(self, entries: Callable[[], list[Entry]]) -> None:
        self._entries = entries

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        serving = [(entry, entry.model.engine.stats()) for entry in self._entries() if entry.model is not None]
        labels = ["model", "version"]
        for kinds, family in ((_COUNTERS, CounterMetricFamily), (_GAUGES, GaugeMetricFamily)):
            for name, (meaning, read) in kinds.items():
                metric = family(name, meaning, labels=labels)
                for entry, counts in serving:
                    metric.add_metric([entry.name, str(entry.version)], read(counts))
                yield metric
        ready = GaugeMetricFamily(
            "seqserve_model_ready", "1 if the version takes requests, 0 if it does not.", labels=labels
        )
        for entry in self._entries():
            ready.add_metric([entry.name, str(entry.version)], entry.state is EntryState.READY)
        yield ready


_SESSION_COUNTERS: dict[str, tuple[str, Callable[[SessionMaintenance], int]]] = {
    "seqserve_sessions_created": (
        "Sessions created, copies and imports included.",
        lambda maintenance: maintenance.counts.created,
    ),
    "seqserve_sessions_expired": (
        "Sessions that were not used in time.",
        lambda maintenance: maintenance.counts.expired,
    ),
    "seqserve_sessions_evicted": ("Sessions forgotten to make room.", lambda maintenance: maintenance.usage.evicted),
    "seqserve_sessions_restored": ("Sessions made of snapshots.", lambda maintenance: maintenance.counts.restored),
    "seqserve_sessions_forked": ("Sessions copied.", lambda maintenance: maintenance.counts.forked),
    "seqserve_sessions_resumed": ("Broken generations that went on.", lambda maintenance: maintenance.counts.resumed),
}

_SESSION_GAUGES: dict[str, tuple[str, Callable[[SessionMaintenance], int]]] = {
    "seqserve_sessions_live": (
        "Sessions in the store, as of the last sweep.",
        lambda maintenance: maintenance.usage.sessions,
    ),
    "seqserve_sessions_bytes": ("Bytes of them.", lambda maintenance: maintenance.usage.bytes),
}


class SessionCollector(Collector):
    """Metrics of the sessions and of their store."""

    def __init__(self, maintenance: SessionMaintenance, store: InstrumentedStore) -> None:
        self._maintenance = maintenance
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        for kinds, family in ((_SESSION_COUNTERS, CounterMetricFamily), (_SESSION_GAUGES, GaugeMetricFamily)):
            for name, (meaning, read) in kinds.items():
                yield family(name, meaning, value=read(self._maintenance))
        yield from self._store.seconds.collect()


class MetricsServer:
    """Answers GET /metrics on an address of its own."""

    def __init__(self, listen: str, *collectors: Collector) -> None:
        """Start to listen. Raises: OSError if the address cannot be listened on.

        Args:
            listen: HOST:PORT; port 0 takes any free one.
            collectors: what to tell of.
        """
        registry = CollectorRegistry()
        for collector in collectors:
            registry.register(collector)
        host, _, port = listen.rpartition(":")
        started: tuple[WSGIServer, Thread] = start_http_server(int(port), host, registry)
        self._server, self._thread = started
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
