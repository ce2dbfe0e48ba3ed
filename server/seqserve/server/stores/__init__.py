"""Stores of sessions: memory, a SQLite file, or Redis. `store` defines the interface."""

from seqserve.server.stores.factory import open_store
from seqserve.server.stores.instrumented import InstrumentedStore
from seqserve.server.stores.store import Lease, Record, SessionKey, Store, Usage

__all__ = [
    "InstrumentedStore",
    "Lease",
    "Record",
    "SessionKey",
    "Store",
    "Usage",
    "open_store",
]
