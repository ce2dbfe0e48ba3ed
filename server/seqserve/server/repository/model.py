"""A version of a model: while it serves, and as an entry of the repository."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from seqserve.server.engine.pool import EnginePool
from seqserve.server.model.manifest import Manifest
from seqserve.server.model.servable import Servable
from seqserve.server.text.tokenization import Tokenization


@dataclass(frozen=True, slots=True)
class Model:
    """A version that serves.

    Attributes:
        servable: The loaded servable.
        tokenization: Turns text into inputs. None: the model reads features.
        table: Bytes of each token, if the model writes text, otherwise empty.
        engine: Runs the servable.
        load_time_s: When it was loaded, unix time in seconds.
    """

    servable: Servable
    tokenization: Tokenization | None
    table: list[bytes]
    engine: EnginePool
    load_time_s: float = field(default_factory=time.time)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the servable."""
        return self.servable.manifest


class EntryState(Enum):
    """Whether a version serves. The value is a description."""

    LOADING = "loading"
    READY = "serves"
    UNLOADING = "takes no new requests, and is unloaded when nothing uses it"
    UNLOADED = "unloaded"
    BROKEN = "cannot be loaded"


@dataclass(frozen=True, slots=True)
class Entry:
    """A version in the repository.

    Attributes:
        name: Name of the model.
        version: Version of the model.
        state: Whether it serves.
        model: The loaded model, in the states READY and UNLOADING.
        reason: Why it takes no new requests. "": it does.
    """

    name: str
    version: int
    state: EntryState
    model: Model | None = None
    reason: str = ""
