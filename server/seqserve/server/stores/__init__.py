"""Where sessions are kept: in memory, in a SQLite file, in Redis. `store` has the interface."""

from seqserve.server.stores.factory import open_store
from seqserve.server.stores.store import Lease, Record, SessionKey, Store, Usage
from seqserve.server.stores.timed import BOUNDS_S, Durations, TimedStore

__all__ = [
    "BOUNDS_S",
    "Durations",
    "Lease",
    "Record",
    "SessionKey",
    "Store",
    "TimedStore",
    "Usage",
    "open_store",
]
