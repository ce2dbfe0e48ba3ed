"""The errors of serving: what went wrong, for programs (kind and reason) and for people (message).

Knows nothing of gRPC: `status` says which status code each kind becomes.

    ServeError
    ├── InvalidFieldError          a field is missing, out of range or contradicts another
    │   ├── EmptyPromptError       nothing to begin with
    │   ├── OutOfVocabularyError   input that the vocabulary does not have
    │   └── InputTooLongError      input over a limit
    ├── TaskMismatchError          the model does something else
    ├── ModelNotFoundError, VersionNotFoundError, ModelNotReadyError
    ├── SessionNotFoundError, SessionExpiredError, SessionExistsError, CheckpointNotFoundError
    ├── SessionBusyError           another request is advancing the session
    │   └── LeaseLostError         another took it over while this one ran
    ├── PositionMismatchError, ServableMismatchError, SnapshotInvalidError
    ├── StoreFullError, StoreUnavailableError, StoreDataLossError
    ├── QueueFullError, DrainingError, DeadlineError, StreamIdleError
    ├── UnimplementedError         in the contract, not in this server
    └── InternalError              a defect

and, never sent to a caller, BrokenServableError, ProviderError and UnusableStoreError, which `repository` and `app`
handle.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Self

log = logging.getLogger(__name__)


class ErrorKind(Enum):
    """What sort of failure it is; each is one status code on the wire."""

    INVALID = "invalid"
    NOT_FOUND = "not found"
    PRECONDITION = "precondition"
    EXISTS = "exists"
    ABORTED = "aborted"
    EXHAUSTED = "exhausted"
    UNAVAILABLE = "unavailable"
    DATA_LOSS = "data loss"
    DEADLINE = "deadline"
    UNIMPLEMENTED = "unimplemented"
    INTERNAL = "internal"


class ServeError(Exception):
    """An error that a caller is told.

    Args:
        message: What was wrong, where, and what to do; a sentence or two without a full stop at the end.
        field: Path of the request's field that is to blame, if one is.
        resource: What was not found, as its sort ("model") and its name, if something was not.
        metadata: Facts for programs, as text.
        retry_after_s: When trying again can help, in seconds; None if it cannot.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        resource: tuple[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.resource = resource
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s


class InvalidFieldError(ServeError):
    """A field of the request is missing, out of range or contradicts another."""

    kind, reason = ErrorKind.INVALID, "INVALID_FIELD"


class EmptyPromptError(InvalidFieldError):
    """There are no tokens to begin with: an empty prompt, a new sequence, no start token."""

    reason = "EMPTY_PROMPT"


class OutOfVocabularyError(InvalidFieldError):
    """The input has something that the vocabulary does not, and there is no unknown token."""

    reason = "OUT_OF_VOCABULARY"


class InputTooLongError(InvalidFieldError):
    """The input is over a limit, in tokens or bytes."""

    reason = "INPUT_TOO_LONG"


class TaskMismatchError(ServeError):
    """The model exists, but its task or direction does not allow the call."""

    kind, reason = ErrorKind.PRECONDITION, "TASK_MISMATCH"


class ModelNotFoundError(ServeError):
    """No model of that name."""

    kind, reason = ErrorKind.NOT_FOUND, "MODEL_NOT_FOUND"


class VersionNotFoundError(ServeError):
    """The model has no such version."""

    kind, reason = ErrorKind.NOT_FOUND, "VERSION_NOT_FOUND"


class ModelNotReadyError(ServeError):
    """The version is in the repository but does not serve."""

    kind, reason = ErrorKind.PRECONDITION, "MODEL_NOT_READY"


class SessionNotFoundError(ServeError):
    """No session of that id, or it is not the caller's."""

    kind, reason = ErrorKind.NOT_FOUND, "SESSION_NOT_FOUND"


class SessionExpiredError(ServeError):
    """There was such a session; the metadata tell when it expired."""

    kind, reason = ErrorKind.NOT_FOUND, "SESSION_EXPIRED"


class SessionExistsError(ServeError):
    """A session of that id exists."""

    kind, reason = ErrorKind.EXISTS, "SESSION_EXISTS"


class SessionBusyError(ServeError):
    """Another request is advancing the session. Safe to retry."""

    kind, reason = ErrorKind.ABORTED, "SESSION_BUSY"


class LeaseLostError(SessionBusyError):
    """Another took the session over while this request advanced it; nothing of this one was kept."""


class CheckpointNotFoundError(ServeError):
    """The session keeps no checkpoint of that name."""

    kind, reason = ErrorKind.NOT_FOUND, "CHECKPOINT_NOT_FOUND"


class PositionMismatchError(ServeError):
    """The state is not where the caller believes it to be; the metadata tell both positions."""

    kind, reason = ErrorKind.PRECONDITION, "POSITION_MISMATCH"


class ServableMismatchError(ServeError):
    """The state belongs to another servable than the one that would run."""

    kind, reason = ErrorKind.PRECONDITION, "SERVABLE_MISMATCH"


class SnapshotInvalidError(ServeError):
    """The snapshot is broken; the message says what is."""

    kind, reason = ErrorKind.INVALID, "SNAPSHOT_INVALID"


class StoreFullError(ServeError):
    """The session store has no room. Safe to retry."""

    kind, reason = ErrorKind.EXHAUSTED, "STORE_FULL"


class StoreUnavailableError(ServeError):
    """The session store did not answer. Safe to retry."""

    kind, reason = ErrorKind.UNAVAILABLE, "STORE_FAILED"


class StoreDataLossError(ServeError):
    """The session store holds something that cannot be read."""

    kind, reason = ErrorKind.DATA_LOSS, "STORE_FAILED"


class QueueFullError(ServeError):
    """The model's queue is at its limit; the request was not admitted. Safe to retry."""

    kind, reason = ErrorKind.EXHAUSTED, "QUEUE_FULL"


class DrainingError(ServeError):
    """The server is stopping and takes no new requests. Safe to retry elsewhere."""

    kind, reason = ErrorKind.UNAVAILABLE, "DRAINING"


class DeadlineError(ServeError):
    """The call's deadline passed before the request was done."""

    kind, reason = ErrorKind.DEADLINE, "DEADLINE"


class StreamIdleError(ServeError):
    """The caller of a stream did not read its answers for too long."""

    kind, reason = ErrorKind.DEADLINE, "STREAM_IDLE"


class UnimplementedError(ServeError):
    """The contract has it, this server does not yet."""

    kind, reason = ErrorKind.UNIMPLEMENTED, "UNIMPLEMENTED"


class InternalError(ServeError):
    """A defect of the server. The caller is told an id, the log has the cause under it."""

    @classmethod
    def logged(cls, what: str, cause: Exception) -> Self:
        """Log the cause, and make the error that does not tell it. Args: what: what failed, for the log."""
        identifier = uuid.uuid4().hex[:12]
        log.error("%s failed (error %s)", what, identifier, exc_info=cause)
        return cls(f"the server failed; its log has the cause under {identifier}", metadata={"error_id": identifier})


class BrokenServableError(Exception):
    """A servable's files cannot be served; the message says what is wrong with them."""


class ProviderError(Exception):
    """The execution provider that was asked for is not there; the message says what to install."""


class UnusableStoreError(Exception):
    """The session store that was asked for cannot be opened; the message says why and what to do."""
