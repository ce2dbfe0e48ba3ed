"""The stored message of a session: parsing and changing it.

The tokens of a session, if they are kept, are stored once, with the current state. The tokens of a checkpoint, and of
the state before the last request, are a prefix of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from seqserve.server.errors import CheckpointNotFoundError, InvalidFieldError, PositionMismatchError, StoreDataLossError
from seqserve.server.sessions.spec import StateSpec
from seqserve.server.stores import Record
from seqserve.v1 import state_pb2 as pb
from seqserve.v1 import stored_pb2

APPLIED_MAX = 32  # number of earlier request ids that a session remembers


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it was read.

    Attributes:
        record: The record in the store.
        stored: The message in the record.
        busy: Whether a request of this server was advancing the session.
    """

    record: Record
    stored: stored_pb2.StoredSession
    busy: bool = False


def parse(record: Record) -> stored_pb2.StoredSession:
    """Returns the message of a record. Raises: StoreDataLossError if it cannot be read."""
    try:
        return stored_pb2.StoredSession.FromString(record.body)
    except DecodeError as error:
        raise StoreDataLossError(
            f"the stored data of session {record.key.id!r} cannot be read; delete the session and create a new one"
        ) from error


def was_applied(stored: stored_pb2.StoredSession, request_id: str, request_digest: bytes, path: str = "") -> bool:
    """Returns whether the last request that the session applied was this one.

    Args:
        stored: The session.
        request_id: Id of the request. "": it is not protected against repetition.
        request_digest: Digest of the request's content.
        path: Prefix of field names in error messages.

    Raises:
        PositionMismatchError: Other requests were applied after this one, so its answer cannot be reproduced.
        InvalidFieldError: The last request had this id and different content.
    """
    if not request_id:
        return False
    if request_id in stored.applied_before:
        raise PositionMismatchError(
            f"request {request_id!r} was applied before, and the session has since advanced to position "
            f"{stored.state.position}; the answer cannot be reproduced",
            metadata={"position": str(stored.state.position)},
        )
    if stored.last.request_id != request_id:
        return False
    if stored.last.request_digest != request_digest:
        raise InvalidFieldError(
            f"{path}request_id {request_id!r} belongs to the session's last request, which had different content; use "
            "a unique id for each request",
            field=f"{path}request_id",
        )
    return True


def check_position(position: int, expected: int | None) -> None:
    """Raises PositionMismatchError if a state is not at the position that the caller expects."""
    if expected is not None and position != expected:
        raise PositionMismatchError(
            f"expected_position is {expected}, but the state is at position {position}; nothing was run, read the "
            "session and retry from its position",
            metadata={"position": str(position), "expected_position": str(expected)},
        )


def check_checkpoint(stored: stored_pb2.StoredSession, spec: StateSpec, checkpoints_max: int) -> None:
    """Raises InvalidFieldError if the session has no room for the checkpoint that a request creates."""
    names = {checkpoint.name for checkpoint in stored.checkpoints}
    if spec.checkpoint and spec.checkpoint not in names and len(names) >= checkpoints_max:
        raise InvalidFieldError(
            f"the session has {len(names)} checkpoints, the limit is {checkpoints_max}; rewind it to drop the later "
            "ones, or use an existing name to replace that one",
            field=f"{spec.path}state.checkpoint",
        )


def find_checkpoint(stored: stored_pb2.StoredSession, name: str) -> int:
    """Returns the index of the checkpoint with this name. Raises: CheckpointNotFoundError."""
    names = [checkpoint.name for checkpoint in stored.checkpoints]
    if name not in names:
        raise CheckpointNotFoundError(
            f"the session has no checkpoint {name!r}; available: {', '.join(names) or 'none'}",
            resource=("checkpoint", name),
        )
    return names.index(name)


def state_at(stored: stored_pb2.StoredSession, checkpoint: str) -> pb.SnapshotPayload:
    """Returns a copy of the current state ("") or of a checkpoint, with its tokens if they are kept."""
    if not checkpoint:
        return copy_state(stored.state)
    return with_tokens(stored, stored.checkpoints[find_checkpoint(stored, checkpoint)].state)


def with_tokens(stored: stored_pb2.StoredSession, payload: pb.SnapshotPayload) -> pb.SnapshotPayload:
    """Returns a copy of an earlier state, with its tokens if they are kept."""
    whole = copy_state(payload)
    whole.tokens.extend(stored.state.tokens[: payload.position])
    return whole


def copy_state(payload: pb.SnapshotPayload) -> pb.SnapshotPayload:
    """Returns a copy of a state."""
    copy = pb.SnapshotPayload()
    copy.CopyFrom(payload)
    return copy


def copy_without_tokens(payload: pb.SnapshotPayload) -> pb.SnapshotPayload:
    """Returns a copy of a state without its tokens."""
    copy = copy_state(payload)
    copy.ClearField("tokens")
    return copy


def apply(stored: stored_pb2.StoredSession, after: pb.SnapshotPayload, spec: StateSpec, seed: int) -> None:
    """Advances a session: a request has continued its current state and ended at ``after``."""
    before, checkpoint = copy_without_tokens(stored.state), spec.checkpoint
    _remember(stored, spec.request_id, spec.request_digest)
    if spec.request_id:
        stored.last.seed = seed
        stored.last.before.CopyFrom(before)
    stored.state.CopyFrom(after)
    if checkpoint:
        others = [kept for kept in stored.checkpoints if kept.name != checkpoint]
        kept = stored_pb2.StoredCheckpoint(
            name=checkpoint, create_time=after.create_time, state=copy_without_tokens(after)
        )
        del stored.checkpoints[:]
        stored.checkpoints.extend([*others, kept])


def rewind(stored: stored_pb2.StoredSession, checkpoint: str, request_id: str) -> None:
    """Resets a session to a checkpoint and drops the later ones. Raises: CheckpointNotFoundError."""
    index = find_checkpoint(stored, checkpoint)
    back = state_at(stored, checkpoint)
    _remember(stored, request_id, rewind_digest(checkpoint))
    stored.state.CopyFrom(back)
    del stored.checkpoints[index + 1 :]


def rewind_digest(checkpoint: str) -> bytes:
    """Returns the request digest of a rewind. It is shorter than any other digest."""
    return f"rewind {checkpoint}".encode()


def fork(stored: stored_pb2.StoredSession, checkpoint: str, request_id: str) -> stored_pb2.StoredSession:
    """Returns a copy of a session at its current state ("") or a checkpoint. Raises: CheckpointNotFoundError."""
    end = find_checkpoint(stored, checkpoint) + 1 if checkpoint else len(stored.checkpoints)
    return stored_pb2.StoredSession(
        state=state_at(stored, checkpoint),
        keep_tokens=stored.keep_tokens,
        checkpoints=stored.checkpoints[:end],
        create_request_id=request_id,
    )


def _remember(stored: stored_pb2.StoredSession, request_id: str, request_digest: bytes) -> None:
    """Makes this request the last one, and moves the previous one to the earlier ones."""
    if stored.last.request_id:
        stored.applied_before.append(stored.last.request_id)
        del stored.applied_before[:-APPLIED_MAX]
    stored.ClearField("last")
    stored.last.request_id = request_id
    stored.last.request_digest = request_digest
