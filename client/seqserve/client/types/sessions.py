"""Sessions as values, and the requests about them. Pure."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Final

from google.protobuf import duration_pb2

from seqserve.client.types import html
from seqserve.client.types.answer import Servable, model_ref, next_page_token, servable_from_wire
from seqserve.v1 import session_pb2, state_pb2

PAGE_SIZE: Final = 1000
_DURATION_S_MAX: Final = 315_576_000_000  # what a google.protobuf.Duration holds


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state of a session.

    Attributes:
        name: Unique in its session.
        position: Tokens in the sequence there.
        create_time: When it was saved.
    """

    name: str
    position: int
    create_time: dt.datetime


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as the server has it.

    Attributes:
        id: Its id.
        servable: The servable that its state belongs to.
        position: Tokens in the sequence so far.
        create_time: When it was created.
        update_time: When it was last advanced, touched or rewound.
        expire_time: When it expires if it is not used.
        ttl_s: Seconds that it lives from its last use.
        checkpoints: Saved states, oldest first.
        size_bytes: Bytes that it takes in the store.
        busy: Whether a request is advancing it.
        keep_tokens: Whether its tokens are kept too.
    """

    id: str
    servable: Servable
    position: int
    create_time: dt.datetime
    update_time: dt.datetime
    expire_time: dt.datetime
    ttl_s: float
    checkpoints: tuple[Checkpoint, ...]
    size_bytes: int
    busy: bool
    keep_tokens: bool

    def __repr__(self) -> str:
        model = f"{self.servable.model} version {self.servable.version}"
        return f"<SessionInfo {self.id!r} of {model} at position {self.position:,}>"

    def to_html(self) -> str:
        """The session as a table, for notebooks."""
        values: dict[str, object] = {
            "model": f"{self.servable.model} version {self.servable.version}",
            "position": f"{self.position:,} tokens",
            "checkpoints": ", ".join(f"{one.name} at {one.position:,}" for one in self.checkpoints) or "none",
            "size": f"{self.size_bytes:,} bytes",
            "expires": self.expire_time,
            "busy": self.busy,
        }
        return html.fields(f"session {self.id}", values)

    def _repr_html_(self) -> str:
        return self.to_html()


def session_from_wire(message: session_pb2.Session) -> SessionInfo:
    """The session of a message."""
    return SessionInfo(
        id=message.id,
        servable=servable_from_wire(message.servable),
        position=message.position,
        create_time=message.create_time.ToDatetime(tzinfo=dt.UTC),
        update_time=message.update_time.ToDatetime(tzinfo=dt.UTC),
        expire_time=message.expire_time.ToDatetime(tzinfo=dt.UTC),
        ttl_s=message.ttl.ToTimedelta().total_seconds(),
        checkpoints=tuple(
            Checkpoint(one.name, one.position, one.create_time.ToDatetime(tzinfo=dt.UTC)) for one in message.checkpoints
        ),
        size_bytes=message.size_bytes,
        busy=message.busy,
        keep_tokens=message.keep_tokens,
    )


def next_page(
    request: session_pb2.ListSessionsRequest, page: session_pb2.ListSessionsResponse
) -> session_pb2.ListSessionsRequest | None:
    """The request for the page after this one; None after the last.

    Raises:
        ProtocolError: If the server points back to the same page, which would never end.
    """
    token = next_page_token(request.page_token, page.next_page_token, "sessions")
    if token is None:
        return None
    return session_pb2.ListSessionsRequest(page_size=request.page_size, page_token=token, model=request.model)


def new_request_id() -> str:
    """A unique id of a request: the server recognizes a retry by it."""
    return uuid.uuid4().hex


def duration(seconds: float | None, what: str = "ttl_s") -> duration_pb2.Duration | None:
    """Seconds as a message; None stays None. Args: what: what it is, for the message.

    Raises:
        ValueError: If it is not a finite number above 0.
    """
    if seconds is None:
        return None
    if not 0 < seconds <= _DURATION_S_MAX:
        raise ValueError(f"{what} must be a finite number above 0 s, got {seconds}")
    message = duration_pb2.Duration()
    message.FromTimedelta(dt.timedelta(seconds=seconds))
    return message


def create_request(
    model: str, session_id: str | None, *, version: int | None, ttl_s: float | None, keep_tokens: bool
) -> session_pb2.CreateSessionRequest:
    """The request to create a session. A retry of it returns the same session."""
    return session_pb2.CreateSessionRequest(
        model=model_ref(model, version),
        session_id=session_id or "",
        ttl=duration(ttl_s),
        keep_tokens=keep_tokens,
        request_id=new_request_id(),
    )


def fork_request(
    session_id: str, new_id: str | None, *, checkpoint: str | None, position: int | None, ttl_s: float | None
) -> session_pb2.ForkSessionRequest:
    """The request to copy a session, from its current state or a checkpoint."""
    return session_pb2.ForkSessionRequest(
        session_id=session_id,
        new_session_id=new_id or "",
        checkpoint=checkpoint,
        expected_position=position,
        ttl=duration(ttl_s),
        request_id=new_request_id(),
    )


def import_request(snapshot: bytes, session_id: str | None, *, ttl_s: float | None) -> session_pb2.ImportSessionRequest:
    """The request to create a session from a snapshot."""
    return session_pb2.ImportSessionRequest(
        snapshot=snapshot, session_id=session_id or "", ttl=duration(ttl_s), request_id=new_request_id()
    )


def advance_options(
    session_id: str, *, position: int | None, checkpoint: str | None, wait: bool
) -> state_pb2.StateOptions:
    """State options of a request that advances a session.

    Args:
        session_id: Which one.
        position: Where the caller knows it to be; None: the server does not check.
        checkpoint: Name to keep the state under at the end.
        wait: Wait in line while another request advances it.
    """
    return state_pb2.StateOptions(
        session_id=session_id,
        expected_position=position,
        checkpoint=checkpoint or "",
        busy_policy=state_pb2.BUSY_POLICY_WAIT if wait else state_pb2.BUSY_POLICY_UNSPECIFIED,
    )


def carried_state(snapshot: bytes | None, *, returned: bool) -> state_pb2.StateOptions | None:
    """State options for a snapshot of the caller; None if there is none.

    Args:
        snapshot: Continue from this snapshot; None: a new sequence.
        returned: Return the state at the end.
    """
    if snapshot is None and not returned:
        return None
    return state_pb2.StateOptions(
        snapshot=snapshot, destination=state_pb2.STATE_DESTINATION_SNAPSHOT if returned else None
    )
