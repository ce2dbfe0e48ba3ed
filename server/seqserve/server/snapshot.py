"""Snapshots: a sequence's state as bytes that describe themselves, and are believed in nothing.

Two layers. The outer message, Snapshot, holds the bytes of the inner one, their checksum and, where the server has a
key, their signature: `seal` and `unseal`. The inner one, SnapshotPayload, holds the state: `pack` and `unpack`, which
holds it against the servable that would go on with it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from seqserve.server.errors import ServableMismatchError, SnapshotInvalidError
from seqserve.server.inputs import IntArray
from seqserve.server.servable import Servable
from seqserve.server.start import Start, TokenCounts, no_tokens
from seqserve.server.state import State
from seqserve.v1 import common_pb2, manifest_pb2
from seqserve.v1 import state_pb2 as pb

FORMAT_VERSION = 1
_UNDECODED_BYTES_MAX = 3
_DTYPES: dict[pb.ElementType, np.dtype[Any]] = {
    pb.ELEMENT_TYPE_FLOAT32: np.dtype("<f4"),
    pb.ELEMENT_TYPE_UINT8: np.dtype("u1"),
}


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
        told = "has a signature that is not this server's" if snapshot.hmac_sha256 else "is not signed"
        raise SnapshotInvalidError(f"the snapshot {told}; this server takes only what it signed itself")
    try:
        return pb.SnapshotPayload.FromString(inner)
    except DecodeError:
        raise SnapshotInvalidError("the snapshot's payload is not a SnapshotPayload message") from None


def pack(start: Start, servable: Servable, now_s: float) -> pb.SnapshotPayload:
    """A state as a message. Args: start: without replay or seed; now_s: unix time."""
    identity = servable.id
    payload = pb.SnapshotPayload(
        servable=common_pb2.ServableId(model=identity.model, version=identity.version, digest=identity.digest),
        position=start.position,
        last_token=start.last_token,
        tokenizer_sha256=bytes.fromhex(servable.manifest.graph.tokenizer_sha256),
    )
    payload.create_time.FromMilliseconds(round(now_s * 1e3))
    for spec, tensor in zip(servable.manifest.states, start.state or (), strict=start.state is not None):
        data = np.ascontiguousarray(tensor[:, 0], _DTYPES[spec.element_type]).tobytes()
        payload.tensors.add(name=spec.name, element_type=spec.element_type, shape=_shape(spec), data=data)
    payload.tokens.extend(start.tokens.tolist())
    payload.generation.undecoded = start.undecoded
    counts = payload.generation.counts
    counts.token_ids.extend(start.counts.ids.tolist())
    counts.prompt.extend(start.counts.prompt.tolist())
    counts.generated.extend(start.counts.generated.tolist())
    return payload


def unpack(payload: pb.SnapshotPayload, servable: Servable) -> Start:
    """The state that a message holds, held against the servable that goes on with it.

    Returns: Its arrays are read-only views of the message's bytes.
    Raises: ServableMismatchError if it is another servable's; SnapshotInvalidError saying what is broken.
    """
    check_servable(payload, servable)
    if _begins(payload):
        return Start.new()
    return _start(payload, servable.manifest, _state(payload.tensors, servable.manifest.states))


def unpack_tokens(payload: pb.SnapshotPayload, servable: Servable) -> Start:
    """The kept tokens that a message holds, to be read again by a servable that does not know its tensors.

    Raises: ServableMismatchError if none are kept or they mean something else to it; SnapshotInvalidError.
    """
    same_tokenizer = payload.tokenizer_sha256.hex() == servable.manifest.graph.tokenizer_sha256
    if payload.position and not (payload.tokens and same_tokenizer):
        raise mismatch(payload, servable)
    if _begins(payload):
        return Start.new()
    start = _start(payload, servable.manifest, None)
    return replace(start, replay=start.tokens[:-1])


def check_servable(payload: pb.SnapshotPayload, servable: Servable) -> None:
    """Raise ServableMismatchError if a state was made by another graph or with another tokenizer."""
    same_graph = payload.servable.digest == servable.id.digest
    if not (same_graph and payload.tokenizer_sha256.hex() == servable.manifest.graph.tokenizer_sha256):
        raise mismatch(payload, servable)


def mismatch(payload: pb.SnapshotPayload, servable: Servable | None) -> ServableMismatchError:
    """What to raise for a state that a servable cannot go on with. Args: servable: None: it is not loaded."""
    theirs = payload.servable
    told = f"the state belongs to {theirs.model[:128]}/{theirs.version} ({theirs.digest[:12]}…)"
    if servable is None:
        return ServableMismatchError(
            f"{told}, which this server has not loaded; load it, or begin anew",
            metadata={"state_digest": theirs.digest[:64]},
        )
    ours = servable.id
    what = "tokenizer" if theirs.digest == ours.digest else "graph"
    return ServableMismatchError(
        f"{told}, which has another {what} than {ours.model}/{ours.version} ({ours.digest[:12]}…); go on with its own "
        "version, or begin anew",
        metadata={"state_digest": theirs.digest[:64], "servable_digest": ours.digest},
    )


def _begins(payload: pb.SnapshotPayload) -> bool:
    """Whether it is a sequence without tokens, which has nothing else either."""
    if payload.position < 0:
        raise SnapshotInvalidError(f"the snapshot is at position {payload.position}; positions begin at 0")
    if payload.position:
        return False
    rest = payload.generation
    if payload.tensors or payload.tokens or payload.HasField("last_token") or rest.undecoded or rest.counts.token_ids:
        raise SnapshotInvalidError("the snapshot is at position 0, where there are neither tensors nor tokens")
    return True


def _start(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest, state: State | None) -> Start:
    return Start(
        state=state,
        position=payload.position,
        last_token=_last_token(payload, manifest),
        counts=_counts(payload, manifest),
        undecoded=_undecoded(payload),
        tokens=_tokens(payload, manifest),
    )


def _state(tensors: Sequence[pb.StateTensor], specs: Sequence[manifest_pb2.StateSpec]) -> State:
    wanted = [spec.name for spec in specs]
    names = [tensor.name for tensor in tensors[: len(wanted) + 1]]  # there may be millions
    if names != wanted:
        raise SnapshotInvalidError(f"the snapshot's tensors begin with {names}, the model's are {wanted}")
    return tuple(_tensor(tensor, spec) for tensor, spec in zip(tensors, specs, strict=True))


def _tensor(tensor: pb.StateTensor, spec: manifest_pb2.StateSpec) -> npt.NDArray[np.float32]:
    shape, dtype = _shape(spec), _DTYPES[spec.element_type]
    size, given = spec.directions * spec.size * dtype.itemsize, list(tensor.shape[:8])
    if (tensor.element_type, len(tensor.data)) == (spec.element_type, size) and given == shape:
        array: npt.NDArray[np.float32] = np.frombuffer(tensor.data, dtype).reshape(spec.directions, 1, spec.size)
        if np.isfinite(array).all():
            return array
        told = "numbers that are not finite"
    elif tensor.element_type != spec.element_type:
        told = f"element type {tensor.element_type}, the model's has {spec.element_type} (see ElementType)"
    elif given != shape:
        told = f"shape {given}, the model's has {shape}"
    else:
        told = f"{len(tensor.data)} bytes, its shape needs {size}"
    raise SnapshotInvalidError(f"the snapshot's tensor {spec.name!r} has {told}")


def _last_token(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> int | None:
    if not manifest.HasField("vocabulary"):  # its input is numeric
        return None
    if not payload.HasField("last_token"):
        raise SnapshotInvalidError("the snapshot has no last token, which a position above 0 needs")
    if not 0 <= payload.last_token < manifest.vocabulary.size:
        raise SnapshotInvalidError(
            f"the snapshot's last token is {payload.last_token}, the vocabulary has {manifest.vocabulary.size} tokens"
        )
    return payload.last_token


def _undecoded(payload: pb.SnapshotPayload) -> bytes:
    undecoded = payload.generation.undecoded
    if len(undecoded) > _UNDECODED_BYTES_MAX:
        raise SnapshotInvalidError(
            f"the snapshot has {len(undecoded)} bytes that are not whole UTF-8, at most {_UNDECODED_BYTES_MAX} can be"
        )
    return undecoded


def _tokens(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> IntArray:
    if not payload.tokens:
        return no_tokens()
    if len(payload.tokens) != payload.position:
        raise SnapshotInvalidError(
            f"the snapshot keeps {len(payload.tokens)} tokens at position {payload.position}; it keeps all or none"
        )
    tokens = np.array(payload.tokens, np.int32)
    if tokens.min() < 0 or tokens.max() >= manifest.vocabulary.size:
        raise SnapshotInvalidError(
            f"the snapshot keeps tokens outside the vocabulary, which has {manifest.vocabulary.size}"
        )
    if tokens[-1] != payload.last_token:
        raise SnapshotInvalidError("the last of the snapshot's tokens is not its last token")
    return tokens


def _counts(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> TokenCounts:
    told = payload.generation.counts
    size, most = len(told.token_ids), manifest.vocabulary.size
    if size > most:
        raise SnapshotInvalidError(f"the snapshot counts {size} tokens, the vocabulary has {most}")
    if not len(told.prompt) == len(told.generated) == size:
        raise SnapshotInvalidError(
            f"the snapshot counts {size} tokens, but has {len(told.prompt)} and {len(told.generated)} counts of them"
        )
    table = np.array([told.token_ids, told.prompt, told.generated], np.int32)
    ids = table[0]
    if size and (table.min() < 0 or ids[-1] >= most or (ids[1:] <= ids[:-1]).any()):
        raise SnapshotInvalidError(
            "the snapshot counts tokens that are not in the vocabulary, not in order, or less than 0 times"
        )
    total = int(table[1:].sum(dtype=np.int64))
    if manifest.task == manifest_pb2.TASK_LANGUAGE_MODEL and total != payload.position:
        raise SnapshotInvalidError(f"the snapshot counts {total} tokens, but is at position {payload.position}")
    return TokenCounts(ids, table[1], table[2])


def _shape(spec: manifest_pb2.StateSpec) -> list[int]:
    """A tensor's shape without the batch axis."""
    return [spec.directions, spec.size]
