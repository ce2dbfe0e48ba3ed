"""Sessions: states that are kept between requests, and who may advance them when."""

from seqserve.server.sessions.advance import Advance
from seqserve.server.sessions.catalog import Catalog
from seqserve.server.sessions.keeper import Keeper
from seqserve.server.sessions.sessions import Sessions
from seqserve.server.sessions.shelf import SessionCounts, Shelf
from seqserve.server.sessions.spec import Destination, StateResult, StateSpec
from seqserve.server.sessions.stored import Session
from seqserve.server.start import Ending, Start, TokenCounts

__all__ = [
    "Advance",
    "Catalog",
    "Destination",
    "Ending",
    "Keeper",
    "Session",
    "SessionCounts",
    "Sessions",
    "Shelf",
    "Start",
    "StateResult",
    "StateSpec",
    "TokenCounts",
]
