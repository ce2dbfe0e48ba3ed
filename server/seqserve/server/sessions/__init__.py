"""Sessions: states that are kept between requests, and who may advance them when."""

from seqserve.server.sessions.advance import Advance
from seqserve.server.sessions.sessions import Sessions
from seqserve.server.sessions.spec import Destination, StateResult, StateSpec
from seqserve.server.start import Ending, Start, TokenCounts

__all__ = ["Advance", "Destination", "Ending", "Sessions", "Start", "StateResult", "StateSpec", "TokenCounts"]
