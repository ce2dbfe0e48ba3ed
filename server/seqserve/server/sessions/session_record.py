"""What a session is made of: the message that a store keeps, read and changed.

The tokens of a session, if they are kept, are kept once, with where it is now; its checkpoints and the beginning of its
last request lie on the way there, so theirs are the beginning of these.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from seqserve.server.errors import CheckpointNotFoundError, InvalidFieldError, PositionMismatchError, StoreDataLossError
from seqserve.server.sessions.spec import StateSpec
from seqserve.server.stores import Record
from seqserve.v1 import state_pb2 as pb
from seqserve.v1 import stored_pb2

APPLIED_MAX = 32  # ids of requests before the last that a session knows


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it was read.

    busy: whether a request of this server was advancing it then.
    """

    record: Record
    stored: stored_pb2.StoredSession
    busy: bool = False


def parse(record: Record) -> stored_pb2.StoredSession:
    """The content of a record. Raises: StoreDataLossError if it cannot be read."""
    try:
        return stored_pb2.StoredSession.FromString(record.body)
    except DecodeError as error:
        raise StoreDataLossError(
            f"what the store keeps of session {record.key.id!r} cannot be read; delete the session and begin anew"
        ) from error


def was_applied(stored: stored_pb2.StoredSession, request_id: str, request_digest: bytes, path: str = "") -> bool:
    """Whether the last request was this one. Args: request_digest: of what it asks.

    Raises: PositionMismatchError if it was applied before others: its answer cannot be given again. InvalidFieldError
        if the last one had its id and asked something else.
    """
    if not request_id:
        return False
    if request_id in stored.applied_before:
        raise PositionMismatchError(
            f"request {request_id!r} was applied before, and the session has gone on since to position "
            f"{stored.state.position}; its answer cannot be given again",
            metadata={"position": str(stored.state.position)},
        )
    if stored.last.request_id != request_id:
        return False
    if stored.last.request_digest != request_digest:
        raise InvalidFieldError(
            f"{path}request_id {request_id!r} is that of the session's last request, which asked something else; give "
            "each request an id of its own",
            field=f"{path}request_id",
        )
    return True


def check_position(position: int, expected: int | None) -> None:
    """Raise PositionMismatchError if a state is not where its caller believes it to be."""
    if expected is not None and position != expected:
        raise PositionMismatchError(
            f"the state is at position {position}, not at {expected} as expected_position says; "
            "nothing was run, look at it and try again from there",
            metadata={"position": str(position), "expected_position": str(expected)},
        )


def check_checkpoint(stored: stored_pb2.StoredSession, spec: StateSpec, checkpoints_max: int) -> None:
    """Raise InvalidFieldError if the checkpoint that a request asks for would be one too many."""
    names = {checkpoint.name for checkpoint in stored.checkpoints}
    if spec.checkpoint and spec.checkpoint not in names and len(names) >= checkpoints_max:
        raise InvalidFieldError(
            f"the session keeps {len(names)} checkpoints, the most there can be; rewind it to drop the later ones, or "
            "use one of their names to replace it",
            field=f"{spec.path}state.checkpoint",
        )


def find_checkpoint(stored: stored_pb2.StoredSession, name: str) -> int:
    """Index of the checkpoint of this name. Raises: CheckpointNotFoundError."""
    names = [checkpoint.name for checkpoint in stored.checkpoints]
    if name not in names:
        raise CheckpointNotFoundError(
            f"the session keeps no checkpoint {name!r}; it keeps: {', '.join(names) or 'none'}",
            resource=("checkpoint", name),
        )
    return names.index(name)


def state_at(stored: stored_pb2.StoredSession, checkpoint: str) -> pb.SnapshotPayload:
    """A copy of the state now ("") or at a checkpoint, with the tokens so far if they are kept."""
    if not checkpoint:
        return copied(stored.state)
    return with_tokens(stored, stored.checkpoints[find_checkpoint(stored, checkpoint)].state)


def with_tokens(stored: stored_pb2.StoredSession, payload: pb.SnapshotPayload) -> pb.SnapshotPayload:
    """A copy of a state on the way to now, with the tokens so far if they are kept."""
    whole = copied(payload)
    whole.tokens.extend(stored.state.tokens[: payload.position])
    return whole


def copied(payload: pb.SnapshotPayload) -> pb.SnapshotPayload:
    """A state that can be changed without changing this one."""
    twin = pb.SnapshotPayload()
    twin.CopyFrom(payload)
    return twin


def bare(payload: pb.SnapshotPayload) -> pb.SnapshotPayload:
    """A copy of a state without its tokens."""
    twin = copied(payload)
    twin.ClearField("tokens")
    return twin


def apply(stored: stored_pb2.StoredSession, after: pb.SnapshotPayload, spec: StateSpec, seed: int) -> None:
    """Move a session on: a request began where it is now and ended at ``after``."""
    before, checkpoint = bare(stored.state), spec.checkpoint
    _remember(stored, spec.request_id, spec.request_digest)
    if spec.request_id:
        stored.last.seed = seed
        stored.last.before.CopyFrom(before)
    stored.state.CopyFrom(after)
    if checkpoint:
        others = [kept for kept in stored.checkpoints if kept.name != checkpoint]
        kept = stored_pb2.StoredCheckpoint(name=checkpoint, create_time=after.create_time, state=bare(after))
        del stored.checkpoints[:]
        stored.checkpoints.extend([*others, kept])


def rewind(stored: stored_pb2.StoredSession, checkpoint: str, request_id: str) -> None:
    """Set a session back to a checkpoint and drop the later ones. Raises: CheckpointNotFoundError."""
    index = find_checkpoint(stored, checkpoint)
    back = state_at(stored, checkpoint)
    _remember(stored, request_id, rewind_digest(checkpoint))
    stored.state.CopyFrom(back)
    del stored.checkpoints[index + 1 :]


def rewind_digest(checkpoint: str) -> bytes:
    """What tells a rewind from another request: a few bytes, and never those of a digest."""
    return f"rewind {checkpoint}".encode()


def fork(stored: stored_pb2.StoredSession, checkpoint: str, request_id: str) -> stored_pb2.StoredSession:
    """The content of a copy, from now ("") or from a checkpoint. Raises: CheckpointNotFoundError."""
    end = find_checkpoint(stored, checkpoint) + 1 if checkpoint else len(stored.checkpoints)
    return stored_pb2.StoredSession(
        state=state_at(stored, checkpoint),
        keep_tokens=stored.keep_tokens,
        checkpoints=stored.checkpoints[:end],
        create_request_id=request_id,
    )


def _remember(stored: stored_pb2.StoredSession, request_id: str, request_digest: bytes) -> None:
    """From now on this request is the last one, and the one before is one of those before."""
    if stored.last.request_id:
        stored.applied_before.append(stored.last.request_id)
        del stored.applied_before[:-APPLIED_MAX]
    stored.ClearField("last")
    stored.last.request_id = request_id
    stored.last.request_digest = request_digest
