"""The errors of serving, for programs (kind and reason) and for people (message).

This module is independent of gRPC: `api.status` maps each kind to a status code.

    ServeError
    ├── InvalidFieldError          a field is missing, out of range or contradicts another
    │   ├── EmptyPromptError       no token to begin with
    │   ├── OutOfVocabularyError   input outside the vocabulary
    │   └── InputTooLongError      input over a limit
    ├── TaskMismatchError          the model has another task
    ├── ModelNotFoundError, VersionNotFoundError, ModelNotReadyError
    ├── SessionNotFoundError, SessionExpiredError, SessionExistsError, CheckpointNotFoundError
    ├── SessionBusyError           another request is advancing the session
    │   └── LeaseLostError         another request took it over while this one ran
    ├── PositionMismatchError, ServableMismatchError, SnapshotInvalidError
    ├── StoreFullError, StoreUnavailableError, StoreUnusableError, StoreDataLossError
    ├── QueueFullError, DrainingError, DeadlineError, StreamIdleError
    ├── NonFiniteOutputError       the model's outputs for one sequence are not numbers
    ├── UnimplementedError         in the API, not in this server
    └── InternalError              a defect of the server

BrokenServableError, ProviderError and UnusableStoreError are never sent to a caller: `repository` and `app` handle
them.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Self

log = logging.getLogger(__name__)


class ErrorKind(Enum):
    """The category of a failure. Each category is one gRPC status code."""

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
    """An error that is reported to the caller.

    Args:
        message: What is wrong, where, and what to do, without a full stop at the end.
        field: Path of the invalid field of the request, if there is one.
        resource: Type and name of the resource that the error is about, for example ("model", "lstm").
        metadata: Facts for programs, as text.
        retry_after_s: After how many seconds a retry can help. None: a retry cannot help.
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
    """A new sequence has no token to begin with: the prompt is empty and the model has no start token."""

    reason = "EMPTY_PROMPT"


class OutOfVocabularyError(InvalidFieldError):
    """The input is outside the vocabulary, and the model has no unknown token."""

    reason = "OUT_OF_VOCABULARY"


class InputTooLongError(InvalidFieldError):
    """The input exceeds a limit, in tokens or bytes."""

    reason = "INPUT_TOO_LONG"


class TaskMismatchError(ServeError):
    """The task or the direction of the model does not support the call."""

    kind, reason = ErrorKind.PRECONDITION, "TASK_MISMATCH"


class ModelNotFoundError(ServeError):
    """The repository has no model with that name."""

    kind, reason = ErrorKind.NOT_FOUND, "MODEL_NOT_FOUND"


class VersionNotFoundError(ServeError):
    """The model has no such version."""

    kind, reason = ErrorKind.NOT_FOUND, "VERSION_NOT_FOUND"


class ModelNotReadyError(ServeError):
    """The version is in the repository but takes no requests."""

    kind, reason = ErrorKind.PRECONDITION, "MODEL_NOT_READY"


class SessionNotFoundError(ServeError):
    """The caller has no session with that id."""

    kind, reason = ErrorKind.NOT_FOUND, "SESSION_NOT_FOUND"


class SessionExpiredError(ServeError):
    """The session has expired. The metadata contain the time."""

    kind, reason = ErrorKind.NOT_FOUND, "SESSION_EXPIRED"


class SessionExistsError(ServeError):
    """A session with that id exists."""

    kind, reason = ErrorKind.EXISTS, "SESSION_EXISTS"


class SessionBusyError(ServeError):
    """Another request is advancing the session. Safe to retry."""

    kind, reason = ErrorKind.ABORTED, "SESSION_BUSY"


class LeaseLostError(SessionBusyError):
    """Another request took the session over while this one advanced it. The result of this one is discarded."""


class CheckpointNotFoundError(ServeError):
    """The session has no checkpoint with that name."""

    kind, reason = ErrorKind.NOT_FOUND, "CHECKPOINT_NOT_FOUND"


class PositionMismatchError(ServeError):
    """The state is not at the expected position. The metadata contain both positions."""

    kind, reason = ErrorKind.PRECONDITION, "POSITION_MISMATCH"


class ServableMismatchError(ServeError):
    """The state belongs to another servable than the one that would run the request."""

    kind, reason = ErrorKind.PRECONDITION, "SERVABLE_MISMATCH"


class SnapshotInvalidError(ServeError):
    """The snapshot is invalid; the message says why."""

    kind, reason = ErrorKind.INVALID, "SNAPSHOT_INVALID"


class StoreFullError(ServeError):
    """The session store has no room. Safe to retry."""

    kind, reason = ErrorKind.EXHAUSTED, "STORE_FULL"


class StoreUnavailableError(ServeError):
    """The session store failed or did not answer. Safe to retry."""

    kind, reason = ErrorKind.UNAVAILABLE, "STORE_FAILED"


class StoreUnusableError(ServeError):
    """The session store cannot work until an operator repairs it. A retry fails again."""

    kind, reason = ErrorKind.PRECONDITION, "STORE_FAILED"


class StoreDataLossError(ServeError):
    """The stored session cannot be read."""

    kind, reason = ErrorKind.DATA_LOSS, "STORE_FAILED"


class QueueFullError(ServeError):
    """The model's queue is full and the request was not admitted. Safe to retry."""

    kind, reason = ErrorKind.EXHAUSTED, "QUEUE_FULL"


class DrainingError(ServeError):
    """The server is stopping and takes no new requests. Safe to retry on another server."""

    kind, reason = ErrorKind.UNAVAILABLE, "DRAINING"


class DeadlineError(ServeError):
    """The deadline of the call passed before the request was finished."""

    kind, reason = ErrorKind.DEADLINE, "DEADLINE"


class StreamIdleError(ServeError):
    """The caller did not read the answers of a stream in time."""

    kind, reason = ErrorKind.DEADLINE, "STREAM_IDLE"


class NonFiniteOutputError(ServeError):
    """The model's outputs for one sequence are not finite. Only that sequence fails."""

    kind, reason = ErrorKind.PRECONDITION, "NON_FINITE_OUTPUT"


class UnimplementedError(ServeError):
    """The API has it, this server does not yet."""

    kind, reason = ErrorKind.UNIMPLEMENTED, "UNIMPLEMENTED"


class InternalError(ServeError):
    """A defect of the server. The message has an id; the log has the cause under that id."""

    @classmethod
    def logged(cls, what: str, cause: BaseException) -> Self:
        """Logs the cause and returns an error that does not reveal it.

        Args:
            what: What failed, for the log.
            cause: The exception.
        """
        identifier = uuid.uuid4().hex[:12]
        log.error("%s failed (error %s)", what, identifier, exc_info=cause)
        return cls(f"internal error (id {identifier}); see the server log", metadata={"error_id": identifier})


class BrokenServableError(Exception):
    """The files of a servable cannot be served; the message says why."""


class ProviderError(Exception):
    """The requested execution provider is not available; the message says what to install."""


class UnusableStoreError(Exception):
    """The session store cannot be opened; the message says why and what to do."""
