"""Converts StateOptions and StateResult: where the state of a request comes from and goes."""

from __future__ import annotations

import copy
import hashlib
import re

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from seqserve.server.api.fields import StreamConfig, seconds
from seqserve.server.errors import InvalidFieldError
from seqserve.server.sessions import Destination, StateResult, StateSpec
from seqserve.server.settings import SessionSettings
from seqserve.v1 import generation_pb2, session_pb2
from seqserve.v1 import state_pb2 as pb

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CHECKPOINT_CHARACTERS_MAX, _REQUEST_ID_CHARACTERS_MAX = 64, 128

_DESTINATIONS = {
    pb.STATE_DESTINATION_DISCARD: Destination.DISCARD,
    pb.STATE_DESTINATION_SESSION: Destination.SESSION,
    pb.STATE_DESTINATION_SNAPSHOT: Destination.SNAPSHOT,
}


# Between the tries of a request: what does not change where it ends.
_MAY_DIFFER = (
    *("model", "outputs", "logprobs", "state", "resume", "priority"),
    *("top_logprobs", "top_labels", "provisional", "idle_timeout"),
)

Asking = generation_pb2.GenerateRequest | generation_pb2.ScoreRequest | StreamConfig
Fenced = pb.StateOptions | session_pb2.ForkSessionRequest | session_pb2.RewindSessionRequest


def state_spec(request: Asking, settings: SessionSettings) -> StateSpec | None:
    """Validates the state options of a request, or of a stream's first message. None: there are none.

    Raises: InvalidFieldError.
    """
    if not request.HasField("state"):
        return None
    options, named = request.state, request.state.HasField("session_id")
    path = "" if isinstance(request, generation_pb2.GenerateRequest | generation_pb2.ScoreRequest) else "config."
    where = f"{path}state"
    destination = _destination(options, where, named=named)
    for name, value in (("create_if_absent", options.create_if_absent), ("ttl", options.HasField("ttl"))):
        if value and not named:
            raise InvalidFieldError(
                f"{where}.{name} is about a session; name it in {where}.session_id", field=f"{where}.{name}"
            )
    if options.checkpoint and destination is not Destination.SESSION:
        raise InvalidFieldError(
            f"{where}.checkpoint keeps a state in a session, and this request leaves none there; leave it out",
            field=f"{where}.checkpoint",
        )
    if options.busy_policy not in pb.BusyPolicy.values():
        raise _unknown(f"{where}.busy_policy", options.busy_policy)
    return StateSpec(
        session_id=session_id(options.session_id, f"{where}.session_id") if named else None,
        snapshot=options.snapshot if options.HasField("snapshot") else None,
        destination=destination,
        expected_position=expected_position(options, f"{where}.expected_position"),
        create=options.create_if_absent,
        ttl_s=ttl_s(options.ttl if options.HasField("ttl") else None, settings, f"{where}.ttl"),
        wait=options.busy_policy == pb.BUSY_POLICY_WAIT,
        checkpoint=checkpoint(options.checkpoint, f"{where}.checkpoint"),
        keep_tokens=options.keep_tokens,
        request_id=request_id(request.request_id, f"{path}request_id"),
        request_digest=_request_digest(request) if request.request_id and destination is Destination.SESSION else b"",
        path=path,
    )


def _request_digest(request: Asking) -> bytes:
    """Returns a digest of all that determines the answer, except the seed: a retry may set it where the first did not.

    What a stream is sent after its first message is not in it.
    """
    same = copy.deepcopy(request)
    for name in _MAY_DIFFER:
        if name in same.DESCRIPTOR.fields_by_name:
            same.ClearField(name)
    if isinstance(same, generation_pb2.GenerateRequest):
        same.sampling.ClearField("seed")
        same.sampling.SetInParent()  # absent and empty mean the same
    return hashlib.sha256(same.SerializeToString(deterministic=True)).digest()


def state_result(result: StateResult) -> pb.StateResult:
    """Returns where the state of a request is."""
    message = pb.StateResult(
        position=result.position,
        session_id=result.session_id,
        snapshot=result.snapshot,
        already_applied=result.already_applied,
    )
    if result.expires_s is not None:
        message.expire_time.CopyFrom(timestamp(result.expires_s))
    return message


def session_id(value: str, field: str) -> str:
    """Validates the id of a session. Raises: InvalidFieldError."""
    if not _ID.fullmatch(value):
        raise InvalidFieldError(
            f"{field} must be 1 to 128 characters from letters, digits, '.', '_', and '-', got {value[:200]!r}",
            field=field,
        )
    return value


def checkpoint(value: str, field: str) -> str:
    """Validates the name of a checkpoint, or "" for none. Raises: InvalidFieldError."""
    return _short(value, _CHECKPOINT_CHARACTERS_MAX, field)


def request_id(value: str, field: str = "request_id") -> str:
    """Validates the id of a request, or "" for none. Raises: InvalidFieldError."""
    return _short(value, _REQUEST_ID_CHARACTERS_MAX, field)


def expected_position(request: Fenced, field: str) -> int | None:
    """Validates the position at which the caller expects the state, or None. Raises: InvalidFieldError."""
    if not request.HasField("expected_position"):
        return None
    if request.expected_position < 0:
        raise InvalidFieldError(f"{field} is {request.expected_position}; positions begin at 0", field=field)
    return request.expected_position


def ttl_s(value: Duration | None, settings: SessionSettings, field: str = "ttl") -> float | None:
    """Validates a time to live in seconds, or None. Raises: InvalidFieldError if it is not in (0, limit]."""
    if value is None:
        return None
    return seconds(value, settings.ttl_max_s, field)


def timestamp(time_s: float) -> Timestamp:
    """Converts a unix time in seconds, to the microsecond."""
    message = Timestamp()
    message.FromMicroseconds(round(time_s * 1e6))
    return message


def _destination(request: pb.StateOptions, path: str, *, named: bool) -> Destination:
    if request.destination == pb.STATE_DESTINATION_UNSPECIFIED:
        return Destination.SESSION if named else Destination.DISCARD
    if request.destination not in _DESTINATIONS:
        raise _unknown(f"{path}.destination", request.destination)
    destination = _DESTINATIONS[request.destination]
    if destination is Destination.SESSION and not named:
        raise InvalidFieldError(
            f"{path}.destination is a session, but {path}.session_id names none", field=f"{path}.destination"
        )
    return destination


def _short(value: str, characters_max: int, field: str) -> str:
    if len(value) > characters_max:
        raise InvalidFieldError(
            f"{field} has {len(value)} characters; it has to have at most {characters_max}", field=field
        )
    return value


def _unknown(field: str, value: int) -> InvalidFieldError:
    return InvalidFieldError(f"{field} is {value}, which this server does not know", field=field)
