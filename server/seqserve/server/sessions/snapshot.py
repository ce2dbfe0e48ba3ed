"""Snapshots: a sequence's state as bytes that describe themselves, and are believed in nothing.

Two layers. The outer message, Snapshot, holds the bytes of the inner one, their checksum and, where the server has a
key, their signature: `seal` and `unseal`. The inner one, SnapshotPayload, holds the state: `pack` and `unpack`, which
holds it against the servable that would go on with it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

from google.protobuf.message import DecodeError

from seqserve.server.errors import ServableMismatchError, SnapshotInvalidError
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.sessions.snapshot_payload import is_of_task, payload_of, start_of
from seqserve.v1 import common_pb2
from seqserve.v1 import state_pb2 as pb

FORMAT_VERSION = 1
_PRECISIONS = {pb.PRECISION_FLOAT32: "float32", pb.PRECISION_INT8: "int8"}


def seal(payload: pb.SnapshotPayload, key: bytes | None) -> bytes:
    """A serialized Snapshot. Args: key: signs it; None: it is not signed."""
    data = payload.SerializeToString()
    return pb.Snapshot(
        format_version=FORMAT_VERSION,
        payload=data,
        sha256=hashlib.sha256(data).digest(),
        hmac_sha256=b"" if key is None else hmac.digest(key, data, "sha256"),
    ).SerializeToString()


def unseal(data: bytes, key: bytes | None, bytes_max: int) -> pb.SnapshotPayload:
    """What a serialized Snapshot holds, not yet held against a servable.

    Args:
        data: From a caller: anything.
        key: Refuse what it did not sign; None: signatures are not looked at.
        bytes_max: Longest that is looked at.
    Raises: SnapshotInvalidError.
    """
    if len(data) > bytes_max:
        raise SnapshotInvalidError(f"the snapshot has {len(data)} bytes, this server takes at most {bytes_max}")
    if not data:
        raise SnapshotInvalidError("the snapshot is empty; send what an export, or an earlier answer, gave")
    try:
        snapshot = pb.Snapshot.FromString(data)
    except DecodeError:
        raise SnapshotInvalidError(
            "the snapshot is not a Snapshot message: it was cut off, changed, or is something else"
        ) from None
    if snapshot.format_version != FORMAT_VERSION:
        raise SnapshotInvalidError(
            f"the snapshot has format version {snapshot.format_version}, this server reads {FORMAT_VERSION}"
        )
    inner = snapshot.payload
    if hashlib.sha256(inner).digest() != snapshot.sha256:
        raise SnapshotInvalidError("the snapshot's checksum does not fit its content: it was damaged or cut off")
    if key is not None and not hmac.compare_digest(hmac.digest(key, inner, "sha256"), snapshot.hmac_sha256):
        description = "has a signature that is not this server's" if snapshot.hmac_sha256 else "is not signed"
        raise SnapshotInvalidError(f"the snapshot {description}; this server takes only what it signed itself")
    try:
        return pb.SnapshotPayload.FromString(inner)
    except DecodeError:
        raise SnapshotInvalidError("the snapshot's payload is not a SnapshotPayload message") from None


def pack(initial: SequenceState, servable: Servable, now_s: float) -> pb.SnapshotPayload:
    """A state as a message. Args: start: without replay or seed; now_s: unix time."""
    payload, identity = payload_of(initial, servable.manifest), servable.id
    payload.servable.CopyFrom(
        common_pb2.ServableId(model=identity.model, version=identity.version, digest=identity.digest)
    )
    payload.tokenizer_sha256 = bytes.fromhex(servable.manifest.graph.tokenizer_sha256)
    payload.precision = servable.manifest.precision
    payload.create_time.FromMilliseconds(round(now_s * 1e3))
    return payload


def unpack(payload: pb.SnapshotPayload, servable: Servable) -> SequenceState:
    """The state that a message holds, held against the servable that goes on with it.

    Returns: Its arrays are read-only views of the message's bytes.
    Raises: ServableMismatchError if it is another servable's; SnapshotInvalidError saying what is broken.
    """
    check_servable(payload, servable)
    return start_of(payload, servable.manifest, with_state=True)


def unpack_tokens(payload: pb.SnapshotPayload, servable: Servable) -> SequenceState:
    """The kept tokens that a message holds, to be read again by a servable that does not know its tensors.

    Of a tagger those of its sentence are read. Where a CRF is within one they do not tell how it goes on.

    Raises: ServableMismatchError if none are kept, they mean something else to it, or it does something else with them;
        SnapshotInvalidError.
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
    initial = start_of(payload, manifest, with_state=False)
    end = initial.position if initial.last_token is None else initial.position - 1
    return replace(initial, replay=initial.tokens[initial.sentence.position : end])


def check_servable(payload: pb.SnapshotPayload, servable: Servable) -> None:
    """Raise ServableMismatchError if a state was made by another graph or with another tokenizer."""
    same_graph = payload.servable.digest == servable.id.digest
    if not (same_graph and payload.tokenizer_sha256.hex() == servable.manifest.graph.tokenizer_sha256):
        raise mismatch(payload, servable)


def mismatch(payload: pb.SnapshotPayload, servable: Servable | None) -> ServableMismatchError:
    """What to raise for a state that a servable cannot go on with. Args: servable: None: it is not loaded."""
    theirs = payload.servable
    description = f"the state belongs to {theirs.model[:128]}/{theirs.version} ({theirs.digest[:12]}…)"
    if servable is None:
        return ServableMismatchError(
            f"{description}, which this server has not loaded; load it, or begin anew",
            metadata={"state_digest": theirs.digest[:64]},
        )
    ours = servable.id
    precisions = [_PRECISIONS.get(value) for value in (payload.precision, servable.manifest.precision)]
    if None not in precisions and precisions[0] != precisions[1]:
        what = f"computes in {precisions[0]}, and not in {precisions[1]} as"
    else:
        what = f"has another {'tokenizer' if theirs.digest == ours.digest else 'graph'} than"
    return ServableMismatchError(
        f"{description}, which {what} {ours.model}/{ours.version} ({ours.digest[:12]}…); "
        "go on with its own version, or begin anew",
        metadata={"state_digest": theirs.digest[:64], "servable_digest": ours.digest},
    )
