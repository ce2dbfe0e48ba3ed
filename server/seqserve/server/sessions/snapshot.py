"""Snapshots: the state of a sequence as self-describing bytes. Snapshots are untrusted input.

There are two layers. The outer message, Snapshot, contains the bytes of the inner one, their checksum and, if the
server has a key, their signature: `seal` and `unseal`. The inner one, SnapshotPayload, contains the state: `pack` and
`unpack`, which checks it against the servable that is to continue it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

from google.protobuf.message import DecodeError

from seqserve.server.errors import ServableMismatchError, SnapshotInvalidError
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.sessions.snapshot_payload import is_of_task, read_payload, write_payload
from seqserve.v1 import common_pb2
from seqserve.v1 import state_pb2 as pb

FORMAT_VERSION = 1
_PRECISIONS = {pb.PRECISION_FLOAT32: "float32", pb.PRECISION_INT8: "int8"}


def seal(payload: pb.SnapshotPayload, key: bytes | None) -> bytes:
    """Returns a serialized Snapshot.

    Args:
        payload: The state.
        key: Signs the snapshot. None: it is not signed.
    """
    data = payload.SerializeToString()
    return pb.Snapshot(
        format_version=FORMAT_VERSION,
        payload=data,
        sha256=hashlib.sha256(data).digest(),
        hmac_sha256=b"" if key is None else hmac.digest(key, data, "sha256"),
    ).SerializeToString()


def unseal(data: bytes, key: bytes | None, bytes_max: int) -> pb.SnapshotPayload:
    """Returns the payload of a serialized Snapshot, not yet checked against a servable.

    Args:
        data: Untrusted bytes from a caller.
        key: Snapshots that it did not sign are refused. None: signatures are not checked.
        bytes_max: Maximum size of a snapshot, in bytes.

    Raises:
        SnapshotInvalidError: The snapshot is too large, damaged or not signed.
    """
    if len(data) > bytes_max:
        raise SnapshotInvalidError(f"the snapshot must have at most {bytes_max} bytes, got {len(data)}")
    if not data:
        raise SnapshotInvalidError("the snapshot is empty; send one that an export or an earlier answer returned")
    try:
        snapshot = pb.Snapshot.FromString(data)
    except DecodeError:
        raise SnapshotInvalidError(
            "the snapshot is not a Snapshot message: it was truncated, changed, or is something else"
        ) from None
    if snapshot.format_version != FORMAT_VERSION:
        raise SnapshotInvalidError(
            f"the snapshot's format version must be {FORMAT_VERSION}, got {snapshot.format_version}"
        )
    inner = snapshot.payload
    if hashlib.sha256(inner).digest() != snapshot.sha256:
        raise SnapshotInvalidError("the snapshot's checksum does not match its content: it was damaged or truncated")
    if key is not None and not hmac.compare_digest(hmac.digest(key, inner, "sha256"), snapshot.hmac_sha256):
        problem = "has the signature of another server" if snapshot.hmac_sha256 else "is not signed"
        raise SnapshotInvalidError(f"the snapshot {problem}; this server accepts only snapshots that it signed")
    try:
        return pb.SnapshotPayload.FromString(inner)
    except DecodeError:
        raise SnapshotInvalidError("the snapshot's payload is not a SnapshotPayload message") from None


def pack(state: SequenceState, servable: Servable, now_s: float) -> pb.SnapshotPayload:
    """Returns a state as a message.

    Args:
        state: Without replay or seed.
        servable: The servable that the state belongs to.
        now_s: Time of creation, unix time in seconds.
    """
    payload, identity = write_payload(state, servable.manifest), servable.id
    payload.servable.CopyFrom(
        common_pb2.ServableId(model=identity.model, version=identity.version, digest=identity.digest)
    )
    payload.tokenizer_sha256 = bytes.fromhex(servable.manifest.graph.tokenizer_sha256)
    payload.precision = servable.manifest.precision
    payload.create_time.FromMilliseconds(round(now_s * 1e3))
    return payload


def unpack(payload: pb.SnapshotPayload, servable: Servable) -> SequenceState:
    """Returns the state of a message, checked against the servable that is to continue it.

    Args:
        payload: The message.
        servable: The servable that is to continue the state.

    Returns:
        The state. Its arrays are read-only views of the message's bytes.

    Raises:
        ServableMismatchError: The state belongs to another servable.
        SnapshotInvalidError: A field is invalid; the message says which.
    """
    check_servable(payload, servable)
    return read_payload(payload, servable.manifest, with_tensors=True)


def unpack_tokens(payload: pb.SnapshotPayload, servable: Servable) -> SequenceState:
    """Returns a state that replays the kept tokens of a message, for a servable that cannot use its tensors.

    A tagger replays the tokens of the current sentence. Within a sentence, tokens alone do not determine the state of a
    CRF.

    Args:
        payload: The message.
        servable: The servable that is to continue the state.

    Raises:
        ServableMismatchError: No tokens are kept, or the servable has another tokenizer or task, or a CRF is within a
            sentence.
        SnapshotInvalidError: A field is invalid; the message says which.
    """
    manifest, tags = servable.manifest, payload.tagging
    same_tokenizer = payload.tokenizer_sha256.hex() == manifest.graph.tokenizer_sha256
    decides = manifest.network.crf or tags.HasField("last_label")
    if payload.position and not (
        payload.tokens
        and same_tokenizer
        and is_of_task(payload, manifest.task)
        and not (decides and tags.sentence_position < payload.position)
    ):
        raise mismatch(payload, servable)
    state = read_payload(payload, manifest, with_tensors=False)
    end = state.position if state.last_token is None else state.position - 1
    return replace(state, replay=state.tokens[state.sentence.position : end])


def check_servable(payload: pb.SnapshotPayload, servable: Servable) -> None:
    """Raises ServableMismatchError if a state was made by another graph or with another tokenizer."""
    same_graph = payload.servable.digest == servable.id.digest
    if not (same_graph and payload.tokenizer_sha256.hex() == servable.manifest.graph.tokenizer_sha256):
        raise mismatch(payload, servable)


def mismatch(payload: pb.SnapshotPayload, servable: Servable | None) -> ServableMismatchError:
    """Returns the error for a state that a servable cannot continue.

    Args:
        payload: The state.
        servable: The servable. None: the state's servable is not loaded.
    """
    theirs = payload.servable
    description = f"the state belongs to {theirs.model[:128]}/{theirs.version} ({theirs.digest[:12]}…)"
    if servable is None:
        return ServableMismatchError(
            f"{description}, which is not loaded; load it, or start a new sequence",
            metadata={"state_digest": theirs.digest[:64]},
        )
    ours = servable.id
    precisions = [_PRECISIONS.get(value) for value in (payload.precision, servable.manifest.precision)]
    if None not in precisions and precisions[0] != precisions[1]:
        what = f"computes in {precisions[0]}, not in {precisions[1]} as"
    else:
        what = f"has another {'tokenizer' if theirs.digest == ours.digest else 'graph'} than"
    return ServableMismatchError(
        f"{description}, which {what} {ours.model}/{ours.version} ({ours.digest[:12]}…); "
        "continue it with its own version, or start a new sequence",
        metadata={"state_digest": theirs.digest[:64], "servable_digest": ours.digest},
    )
