"""Where sessions are kept: in memory, in a SQLite file, in Redis. `store` has the interface."""

from seqserve.server.stores.opening import open_store
from seqserve.server.stores.store import Lease, Record, SessionKey, Store, Usage

__all__ = ["Lease", "Record", "SessionKey", "Store", "Usage", "open_store"]
