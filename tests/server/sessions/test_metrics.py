"""Prometheus metrics of sessions."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from seqserve.server.metrics import SessionCollector
from seqserve.server.sessions import LiveSessions, SessionAdmin, SessionMaintenance, Sessions
from seqserve.server.settings import SessionSettings
from seqserve.server.stores import InstrumentedStore
from tests.server.sessions.rig import LSTM, OWNER, Rooms, commit, into


async def test_what_became_of_sessions_is_counted_and_their_store_is_timed(at: Rooms) -> None:
    settings, store = SessionSettings(), InstrumentedStore(at.store)
    live_sessions = LiveSessions(store)
    sessions, admin = (
        Sessions(at.repository, live_sessions, settings),
        SessionAdmin(at.repository, live_sessions, settings),
    )
    maintenance = SessionMaintenance(at.repository, live_sessions, settings)
    registry = CollectorRegistry()
    registry.register(SessionCollector(maintenance, store))
    async with sessions.begin(into(ttl_s=5.0), LSTM, OWNER) as transaction:
        await commit(transaction, 1, 2)
    await admin.fork(OWNER, "one", "two", "", None, 50.0, "")
    snapshot, _ = await admin.export(OWNER, "one", "")
    await admin.import_(OWNER, "three", snapshot, None, "")
    at.clock.advance(10)
    await maintenance.sweep()

    def result(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"seqserve_{name}", labels)

    counted = {
        name: result(f"sessions_{name}_total") for name in ("created", "expired", "evicted", "restored", "forked")
    }
    assert counted == {"created": 3, "expired": 1, "evicted": 0, "restored": 1, "forked": 1}
    assert result("sessions_live") == 2
    assert result("sessions_bytes") == sum(
        [len((await admin.get(OWNER, name)).record.body) for name in ("two", "three")]
    )
    assert result("store_seconds_count", operation="create") == 3
    assert result("store_seconds_bucket", operation="create", le="+Inf") == 3
    total_s = result("store_seconds_sum", operation="create")
    assert total_s is not None
    assert 0 < total_s < 1
