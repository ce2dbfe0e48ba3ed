"""Sessions: states that are stored between requests, and which request may advance them."""

from seqserve.server.model.sequence_state import FinalState, SequenceState, TokenCounts
from seqserve.server.sessions.admin import SessionAdmin
from seqserve.server.sessions.live_sessions import LiveSessions, SessionCounts
from seqserve.server.sessions.maintenance import SessionMaintenance
from seqserve.server.sessions.session_record import Session
from seqserve.server.sessions.sessions import Sessions
from seqserve.server.sessions.spec import Destination, StateResult, StateSpec
from seqserve.server.sessions.transaction import StateTransaction

__all__ = [
    "Destination",
    "FinalState",
    "LiveSessions",
    "SequenceState",
    "Session",
    "SessionAdmin",
    "SessionCounts",
    "SessionMaintenance",
    "Sessions",
    "StateResult",
    "StateSpec",
    "StateTransaction",
    "TokenCounts",
]
