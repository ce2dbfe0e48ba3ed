"""What every answer carries besides its content: servable, timing, and the state at the end."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from seqserve.client.errors import ProtocolError
from seqserve.v1 import common_pb2, state_pb2


@dataclass(frozen=True, slots=True)
class Servable:
    """One version of a model, identified by its content.

    Attributes:
        model: Name of the model.
        version: Version, at least 1.
        digest: SHA-256 of the graph file, 64 hexadecimal digits; empty if the manifest could not be read.
    """

    model: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one request on the server, in milliseconds; the way over the network is not in them.

    Attributes:
        queue_ms: From admission until the first step that included the request.
        first_output_ms: From admission until the first answer was ready.
        total_ms: From admission until the end.
    """

    queue_ms: float
    first_output_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class StateResult:
    """The recurrent state at the end of a request.

    Attributes:
        position: Tokens in the sequence so far: prompt, input and generated ones, start token included.
        session_id: The session that holds the state now; None if none does.
        expire_time: When that session expires if it is not used; None without a session.
        snapshot: The state as bytes, if the request asked for it.
        already_applied: True if this request id had been applied before: the state was not advanced again.
    """

    position: int
    session_id: str | None = None
    expire_time: dt.datetime | None = None
    snapshot: bytes | None = None
    already_applied: bool = False

    def __repr__(self) -> str:
        parts = [f"position {self.position:,}"]
        if self.session_id is not None:
            parts.append(f"session {self.session_id!r}")
        if self.snapshot is not None:
            parts.append(f"snapshot of {len(self.snapshot):,} bytes")
        if self.already_applied:
            parts.append("already applied")
        return f"<StateResult {', '.join(parts)}>"


def servable_from_wire(message: common_pb2.ServableId) -> Servable:
    """The servable of a message."""
    return Servable(model=message.model, version=message.version, digest=message.digest)


def timing_from_wire(message: common_pb2.Timing) -> Timing:
    """The times of a message."""
    return Timing(queue_ms=message.queue_ms, first_output_ms=message.first_output_ms, total_ms=message.total_ms)


def state_from_wire(message: state_pb2.StateResult) -> StateResult:
    """The state of a message."""
    expires = message.HasField("expire_time")
    return StateResult(
        position=message.position,
        session_id=message.session_id or None,
        expire_time=message.expire_time.ToDatetime(tzinfo=dt.UTC) if expires else None,
        snapshot=message.snapshot or None,
        already_applied=message.already_applied,
    )


def model_ref(name: str, version: int | None) -> common_pb2.ModelRef:
    """A reference to a model; without a version, to its newest."""
    return common_pb2.ModelRef(name=name, version=version)


def next_page_token(current: str, following: str, what: str) -> str | None:
    """The token of a list's next page; None after the last.

    Args:
        current: Token of the page that came.
        following: What it says of the next.
        what: Plural noun for the listed things, for the error message.

    Raises:
        ProtocolError: If the server points back to the same page, which would never end.
    """
    if following and following == current:
        raise ProtocolError(f"the server's list of {what} does not end: a page names itself as the next")
    return following or None
