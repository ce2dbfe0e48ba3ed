"""What a request says about its state, and what happened to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Destination(Enum):
    """Where the final state of a request goes."""

    DISCARD = "discard"
    SESSION = "session"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class StateSpec:
    """Where the state of a request comes from and goes to. Validated.

    At most one of session_id and snapshot is set. Without them, the request begins a new sequence.

    Attributes:
        session_id: Session that the request continues.
        snapshot: Snapshot that the request continues.
        destination: Destination of the final state. SESSION requires a session_id.
        expected_position: Position that the caller expects. None: not checked.
        create: Create the session if it does not exist.
        ttl_s: New time to live of the session, in seconds. None: unchanged.
        wait: Wait while another request advances the session, instead of failing with SESSION_BUSY.
        checkpoint: Name of a checkpoint that keeps the final state, with destination SESSION. "": none.
        keep_tokens: Keep the tokens with the state.
        request_id: Identifies the request within the session. "": the request is not protected against repetition.
        request_digest: Digest of the request's content, equal for each of its tries.
        path: Path of these fields in the caller's message, a prefix for error messages.
    """

    session_id: str | None = None
    snapshot: bytes | None = None
    destination: Destination = Destination.DISCARD
    expected_position: int | None = None
    create: bool = False
    ttl_s: float | None = None
    wait: bool = False
    checkpoint: str = ""
    keep_tokens: bool = False
    request_id: str = ""
    request_digest: bytes = b""
    path: str = ""


@dataclass(frozen=True, slots=True)
class StateResult:
    """What happened to the state of a request.

    Attributes:
        position: Number of tokens in the sequence, or in the session if one was the destination.
        session_id: Session that stores the state. "": none.
        expires_s: When the session expires, unix time in seconds. None: no session.
        snapshot: The state as a snapshot, if requested.
        already_applied: The request's id had been applied before, and the session did not advance again.
    """

    position: int
    session_id: str = ""
    expires_s: float | None = None
    snapshot: bytes = b""
    already_applied: bool = False
