"""One version of a model: as it serves, and as an entry of the repository."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from seqserve.server.engine.pool import EnginePool
from seqserve.server.model.servable import Servable
from seqserve.server.text.tokenization import Tokenization
from seqserve.v1 import manifest_pb2 as pb


@dataclass(frozen=True, slots=True)
class Model:
    """One version that serves: its servable, how text becomes its inputs and back, and the engine that runs it."""

    servable: Servable
    tokenization: Tokenization | None
    table: list[bytes]
    engine: EnginePool
    load_time_s: float = field(default_factory=time.time)

    @property
    def manifest(self) -> pb.Manifest:
        """What the servable says of itself."""
        return self.servable.manifest


class EntryState(Enum):
    """Whether a version serves."""

    LOADING = "it is being loaded"
    READY = "it serves"
    UNLOADING = "it takes no new requests, and goes when what uses it has ended"
    UNLOADED = "it was unloaded"
    BROKEN = "it cannot be loaded"


@dataclass(frozen=True, slots=True)
class Entry:
    """One version in the repository.

    model: there in the states READY and UNLOADING. reason: why it takes no new requests; "" if it does.
    """

    name: str
    version: int
    state: EntryState
    model: Model | None = None
    reason: str = ""
