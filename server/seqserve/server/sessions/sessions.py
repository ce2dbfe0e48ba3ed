"""All sessions of a server."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from seqserve.server.sessions.advance import Advance
from seqserve.server.sessions.spec import StateSpec


class Sessions:
    """All sessions of a server."""

    def advance(
        self, spec: StateSpec | None, ref: tuple[str, int | None], owner: str
    ) -> AbstractAsyncContextManager[Advance]:
        """Choose the model, find the state, and hold the session until the block is left.

        Args:
            spec: None: no state comes or goes.
            ref: name and version of the model as the request has them.
            owner: who asks: fields.owner of the call.
        Raises: SessionNotFoundError, SessionExpiredError, SessionBusyError, PositionMismatchError,
            ServableMismatchError, SnapshotInvalidError, InvalidFieldError; as Repository.model and the store.
        """
        raise NotImplementedError
