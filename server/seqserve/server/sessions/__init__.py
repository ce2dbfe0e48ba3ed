"""Sessions: states that are kept between requests, and who may advance them when."""

from seqserve.server.model.sequence_state import Ending, Start, TokenCounts
from seqserve.server.sessions.admin import Catalog
from seqserve.server.sessions.live_sessions import SessionCounts, Shelf
from seqserve.server.sessions.maintenance import Keeper
from seqserve.server.sessions.session_record import Session
from seqserve.server.sessions.sessions import Sessions
from seqserve.server.sessions.spec import Destination, StateResult, StateSpec
from seqserve.server.sessions.transaction import Advance

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
