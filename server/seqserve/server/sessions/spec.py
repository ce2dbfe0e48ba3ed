"""What a request says of its state, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Destination(Enum):
    """Where a request's final state goes."""

    DISCARD = "discard"
    SESSION = "session"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class StateSpec:
    """Where a request's state comes from and where it goes; checked.

    At most one of session_id and snapshot is set; none: a new sequence. destination SESSION needs a session_id.
    expected_position: what the caller believes the position to be; None: not checked.
    create: make the session if it is not there. ttl_s: its new time to live; None: as it was.
    wait: wait in line where another request advances the session; else SESSION_BUSY.
    checkpoint: name to keep the final state under; "": none; only with destination SESSION.
    keep_tokens: keep the tokens with the state. request_id: names the request among the session's; "": no protection.
    request_digest: of what the request asks, the same for every try of it.
    path: what is before the names of these fields in the caller's message, for errors.
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
    """What became of a request's state.

    position: tokens in the sequence; of the session where one was named as destination. session_id: the session that
    holds the state now; "": none does. expires_s: when that one expires, unix time; None: no session.
    snapshot: the state as bytes, if it was asked for. already_applied: the request's id had been applied before: the
    session was not advanced again.
    """

    position: int
    session_id: str = ""
    expires_s: float | None = None
    snapshot: bytes = b""
    already_applied: bool = False
