"""A request that carries state: where it begins, and the commit of what it leaves."""

from __future__ import annotations

from seqserve.server.repository import Model
from seqserve.server.sessions.spec import StateResult
from seqserve.server.start import Ending, Start


class Advance:
    """One request between its start and its commit."""

    def __init__(self, model: Model, start: Start, *, wants_state: bool, already_applied: bool) -> None:
        """Args: model: the version that runs it; its repository keeps it loaded until the end.

        wants_state: whether Ending.state is needed; if not, it may be None.
        already_applied: the request is repeated; its end changes nothing.
        """
        self.model = model
        self.start = start
        self.wants_state = wants_state
        self.already_applied = already_applied

    async def commit(self, ending: Ending) -> StateResult:
        """Put the state where the request wants it; call it before the last message is written, for every request.

        Without it (an error, a cancel, a deadline) a session stays as it was.
        Raises: SessionBusyError if another took the session over; SessionNotFoundError if it was deleted meanwhile;
            StoreFullError, StoreUnavailableError.
        """
        raise NotImplementedError
