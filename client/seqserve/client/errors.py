"""The exceptions that calls raise.

Every failure of a call is a `SeqserveError`; catch the branch that you can handle.

    SeqserveError
    ├── InvalidArgumentError            the request is wrong: change it
    │   ├── InvalidFieldError           a field is missing, out of range or contradicts another
    │   ├── EmptyPromptError            nothing to begin with: no prompt, a new sequence, no start token
    │   ├── OutOfVocabularyError        a character or word that the model does not have
    │   ├── InputTooLongError           over a limit in tokens or bytes
    │   ├── ShapeMismatchError          a shape, precision or label set that does not fit the model
    │   └── SnapshotInvalidError        a broken snapshot
    ├── NotFoundError                   something named in the request does not exist
    │   ├── ModelNotFoundError
    │   │   └── VersionNotFoundError
    │   ├── SessionNotFoundError
    │   │   └── SessionExpiredError     it existed; the metadata contain when it expired
    │   └── CheckpointNotFoundError
    ├── AlreadyExistsError
    │   └── SessionExistsError
    ├── PreconditionError               the request is right, but not for this model or at this point
    │   ├── TaskMismatchError           the model does something else
    │   ├── ModelNotReadyError          the version exists but could not be loaded
    │   ├── PositionMismatchError       the session is not where the caller believes it to be
    │   ├── ServableMismatchError       the state belongs to another servable
    │   ├── StoreUnusableError          the session store needs a repair by its operator
    │   ├── StreamOrderError            a message that its stream does not allow at that point
    │   └── NonFiniteOutputError        the model's outputs for the sequence are not finite numbers
    ├── AbortedError
    │   └── SessionBusyError            another request is advancing the session: try again
    ├── ExhaustedError                  over capacity: try again after `retry_after_s`
    │   ├── QueueFullError
    │   └── StoreFullError
    ├── UnavailableError                no answer from the server: try again, or elsewhere
    │   ├── UnreachableError            nobody listens at the address
    │   ├── DrainingError               the server is stopping
    │   └── StoreUnavailableError       the session store of the server does not answer
    ├── DeadlineError                   it took longer than it was given
    │   └── StreamIdleError             nobody read a stream's answers for too long
    ├── CallCancelledError              cancelled by the server, or by closing the client
    ├── UnimplementedError              in the contract, but not in this server
    ├── DataLossError
    │   └── StoreDataLossError          the session store lost what it held
    └── InternalError                   a defect of the server; the message carries the id that its log has too
        └── ProtocolError               the server answered what the contract does not allow

Mistakes in using the client itself (a closed client, a stream read twice) are RuntimeError, ValueError and TypeError.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import grpc


class ErrorReason(StrEnum):
    """Why a call failed, for programs: the reasons of the contract, `seqserve.v1.ErrorReason`.

    Members are equal to their names on the wire: ``error.reason == "ERROR_REASON_QUEUE_FULL"`` holds too.
    """

    INVALID_FIELD = "ERROR_REASON_INVALID_FIELD"
    EMPTY_PROMPT = "ERROR_REASON_EMPTY_PROMPT"
    OUT_OF_VOCABULARY = "ERROR_REASON_OUT_OF_VOCABULARY"
    INPUT_TOO_LONG = "ERROR_REASON_INPUT_TOO_LONG"
    TASK_MISMATCH = "ERROR_REASON_TASK_MISMATCH"
    MODEL_NOT_FOUND = "ERROR_REASON_MODEL_NOT_FOUND"
    VERSION_NOT_FOUND = "ERROR_REASON_VERSION_NOT_FOUND"
    MODEL_NOT_READY = "ERROR_REASON_MODEL_NOT_READY"
    SESSION_NOT_FOUND = "ERROR_REASON_SESSION_NOT_FOUND"
    SESSION_EXPIRED = "ERROR_REASON_SESSION_EXPIRED"
    SESSION_EXISTS = "ERROR_REASON_SESSION_EXISTS"
    SESSION_BUSY = "ERROR_REASON_SESSION_BUSY"
    POSITION_MISMATCH = "ERROR_REASON_POSITION_MISMATCH"
    SERVABLE_MISMATCH = "ERROR_REASON_SERVABLE_MISMATCH"
    CHECKPOINT_NOT_FOUND = "ERROR_REASON_CHECKPOINT_NOT_FOUND"
    SNAPSHOT_INVALID = "ERROR_REASON_SNAPSHOT_INVALID"
    QUEUE_FULL = "ERROR_REASON_QUEUE_FULL"
    STORE_FULL = "ERROR_REASON_STORE_FULL"
    DRAINING = "ERROR_REASON_DRAINING"
    DEADLINE = "ERROR_REASON_DEADLINE"
    UNIMPLEMENTED = "ERROR_REASON_UNIMPLEMENTED"
    INTERNAL = "ERROR_REASON_INTERNAL"
    NON_FINITE_OUTPUT = "ERROR_REASON_NON_FINITE_OUTPUT"
    STREAM_ORDER = "ERROR_REASON_STREAM_ORDER"
    STORE_FAILED = "ERROR_REASON_STORE_FAILED"
    SHAPE_MISMATCH = "ERROR_REASON_SHAPE_MISMATCH"
    STREAM_IDLE = "ERROR_REASON_STREAM_IDLE"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """An invalid field of the request.

    Attributes:
        field: Path of the field, with the names of the contract ("sampling.top_p").
        description: Human-readable description of the fault.
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Resource:
    """The resource that an error refers to.

    Attributes:
        kind: What sort of thing ("model", "session").
        name: Its name or id.
    """

    kind: str
    name: str


_REASONS = {str(reason): reason for reason in ErrorReason}


class SeqserveError(Exception):
    """A call failed. Also raised itself, for failures that have no class of their own.

    Attributes:
        message: What went wrong, for people; the same as ``str(error)``.
        code: The gRPC status code.
        reason: The stable reason for programs, an `ErrorReason`. A reason that this client does not know, from a newer
            server, is its name on the wire; empty if the error does not come from a seqserve server (nobody listens, a
            proxy answered, the deadline passed).
        metadata: Facts for programs, as text.
        violations: The fields that are wrong, if some are.
        resource: What was not found or is in the way, if the server said.
        retry_after_s: Seconds after which trying again can help; None if the server did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        resource: Resource | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason: ErrorReason | str = _REASONS.get(reason, reason)
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.resource = resource
        self.retry_after_s = retry_after_s


class InvalidArgumentError(SeqserveError):
    """The request is wrong whatever the state of the server; `violations` name the fields."""


class InvalidFieldError(InvalidArgumentError):
    """A field is missing, out of range or contradicts another."""


class EmptyPromptError(InvalidArgumentError):
    """The prompt has no tokens, the sequence is new and the model has no start token."""


class OutOfVocabularyError(InvalidArgumentError):
    """A character or word is outside the vocabulary and the model has no unknown token."""


class InputTooLongError(InvalidArgumentError):
    """The input is over a limit of the model or the server, in tokens or bytes."""


class ShapeMismatchError(InvalidArgumentError):
    """A precision, label set or shape of the input does not fit the model."""


class SnapshotInvalidError(InvalidArgumentError):
    """The snapshot is invalid; the message says why."""


class NotFoundError(SeqserveError):
    """Something named in the request does not exist."""


class ModelNotFoundError(NotFoundError):
    """The server has no model of that name."""


class VersionNotFoundError(ModelNotFoundError):
    """The model has no such version."""


class SessionNotFoundError(NotFoundError):
    """There is no session of that id, or it is not the caller's."""


class SessionExpiredError(SessionNotFoundError):
    """The session existed and has expired."""

    @property
    def expire_time(self) -> dt.datetime | None:
        """When it expired; None if the server did not say."""
        value = self.metadata.get("expire_time")
        return None if value is None else dt.datetime.fromisoformat(value)


class CheckpointNotFoundError(NotFoundError):
    """The session keeps no checkpoint of that name or position."""


class AlreadyExistsError(SeqserveError):
    """The thing to be created exists."""


class SessionExistsError(AlreadyExistsError):
    """A session of that id exists."""


class PreconditionError(SeqserveError):
    """The request is right, but not for this model or at this point."""


class TaskMismatchError(PreconditionError):
    """The model exists, but its task or direction does not allow this call."""


class ModelNotReadyError(PreconditionError):
    """The model or version exists but could not be loaded; the message says why."""


class PositionMismatchError(PreconditionError):
    """The session is not at the expected position."""

    @property
    def position(self) -> int | None:
        """Where the session is; None if the server did not say."""
        value = self.metadata.get("position")
        return None if value is None else int(value)

    @property
    def expected_position(self) -> int | None:
        """Where the request wanted it to be; None if it did not say."""
        value = self.metadata.get("expected_position")
        return None if value is None else int(value)


class ServableMismatchError(PreconditionError):
    """The state belongs to another servable than the one that would run."""


class StoreUnusableError(PreconditionError):
    """The session store can't work until its operator repairs it. Retrying doesn't help."""


class StreamOrderError(PreconditionError):
    """A message came that its stream does not allow at that point."""


class NonFiniteOutputError(PreconditionError):
    """The model's outputs for the sequence are not finite numbers: its state has extreme values."""


class AbortedError(SeqserveError):
    """Another request was in the way; trying again can help."""


class SessionBusyError(AbortedError):
    """Another request is advancing the session."""


class ExhaustedError(SeqserveError):
    """The server is at a limit; nothing was done. Safe to try again after `retry_after_s`."""


class QueueFullError(ExhaustedError):
    """The model's queue is full; the request was not admitted."""


class StoreFullError(ExhaustedError):
    """The session store has no room."""


class UnavailableError(SeqserveError):
    """The server gave no answer: it went away, or the connection to it broke."""


class UnreachableError(UnavailableError):
    """Nobody listens at the address, or its name does not resolve; nothing was sent."""


class DrainingError(UnavailableError):
    """The server is stopping and takes no new requests. Safe to try again, on another replica if there is one."""


class StoreUnavailableError(UnavailableError):
    """The server's session store did not answer."""


class DeadlineError(SeqserveError):
    """The call, or the wait for its next message, took longer than it was given."""


class StreamIdleError(DeadlineError):
    """Nobody read the answers of a stream for longer than the server waits for that, so it ended the stream."""


class CallCancelledError(SeqserveError):
    """The call was cancelled by the server, or by closing the client while it ran."""


class UnimplementedError(SeqserveError):
    """The method is part of the contract but not of this server."""


class DataLossError(SeqserveError):
    """Stored data was lost."""


class StoreDataLossError(DataLossError):
    """The session store lost what it held."""


class InternalError(SeqserveError):
    """A defect of the server; the message carries an id that its log has too."""


class ProtocolError(InternalError):
    """The server answered what the contract does not allow; server and client may be of versions that do not fit."""
