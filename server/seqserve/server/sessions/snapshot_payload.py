"""The payload of a snapshot: written from a state, and read against the manifest of the model that continues it.

A payload that is read is untrusted input: each field is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqserve.server.errors import SnapshotInvalidError
from seqserve.server.model.inputs import IntArray
from seqserve.server.model.manifest import reads_ids_alone
from seqserve.server.model.sequence_state import Sentence, SequenceState, TokenCounts, no_tokens
from seqserve.server.model.state import State
from seqserve.v1 import manifest_pb2
from seqserve.v1 import state_pb2 as pb

_UNDECODED_BYTES_MAX = 3
_POSITION_MAX = 1 << 53  # far from where positions and random counters overflow, and exact in every JSON number
_COUNT_MAX = 1 << 30  # of one token; counts are int32, and a request adds to them
_DTYPES: dict[pb.ElementType, np.dtype[Any]] = {
    pb.ELEMENT_TYPE_FLOAT32: np.dtype("<f4"),
    pb.ELEMENT_TYPE_UINT8: np.dtype("u1"),
}


def write_payload(state: SequenceState, manifest: manifest_pb2.Manifest) -> pb.SnapshotPayload:
    """Returns a state as a message that does not name its servable yet.

    Args:
        state: Without replay or seed.
        manifest: Of the model that the state belongs to.
    """
    payload = pb.SnapshotPayload(position=state.position, last_token=state.last_token, tokens=state.tokens.tolist())
    for spec, tensor in zip(manifest.states, state.state or (), strict=state.state is not None):
        data = np.ascontiguousarray(tensor[:, 0], _DTYPES[spec.element_type]).tobytes()
        payload.tensors.add(name=spec.name, element_type=spec.element_type, shape=_shape(spec), data=data)
    if manifest.task == manifest_pb2.TASK_LANGUAGE_MODEL:
        payload.generation.undecoded = state.undecoded
        counts = payload.generation.counts
        counts.token_ids.extend(state.counts.ids.tolist())
        counts.prompt.extend(state.counts.prompt.tolist())
        counts.generated.extend(state.counts.generated.tolist())
    elif manifest.task == manifest_pb2.TASK_TAGGING:
        sentence = state.sentence
        payload.tagging.CopyFrom(
            pb.TaggingRemainder(sentence_position=sentence.position, last_label=sentence.last_label)
        )
    return payload


def read_payload(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest, *, with_tensors: bool) -> SequenceState:
    """Returns the state of a message.

    Args:
        payload: The message.
        manifest: Of the model that is to continue the state.
        with_tensors: Whether to read the tensors.

    Returns:
        The state. Its arrays are read-only views of the message's bytes.

    Raises:
        SnapshotInvalidError: A field is invalid; the message says which.
    """
    if _is_new(payload):
        return SequenceState.new()
    _check_remainders(payload, manifest)
    return SequenceState(
        state=_state(payload.tensors, manifest.states) if with_tensors else None,
        position=payload.position,
        last_token=_last_token(payload, manifest),
        counts=_counts(payload, manifest),
        undecoded=_undecoded(payload),
        tokens=_tokens(payload, manifest),
        sentence=_sentence(payload, manifest),
    )


def is_of_task(payload: pb.SnapshotPayload, task: manifest_pb2.Task) -> bool:
    """Returns whether a sequence with tokens can belong to a task, by the fields that are set."""
    return (payload.HasField("last_token"), payload.HasField("tagging")) == (
        task == manifest_pb2.TASK_LANGUAGE_MODEL,
        task == manifest_pb2.TASK_TAGGING,
    )


def _is_new(payload: pb.SnapshotPayload) -> bool:
    """Returns whether the sequence has no tokens. Nothing else may be set then."""
    if not 0 <= payload.position <= _POSITION_MAX:
        raise SnapshotInvalidError(f"the snapshot's position must be in [0, {_POSITION_MAX}], got {payload.position}")
    if payload.position:
        return False
    text, tags = payload.generation, payload.tagging
    remainder = text.undecoded or text.counts.token_ids or tags.sentence_position or tags.HasField("last_label")
    if payload.tensors or payload.tokens or payload.HasField("last_token") or remainder:
        raise SnapshotInvalidError("the snapshot is at position 0, so it must have neither tensors nor tokens")
    return True


def _check_remainders(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> None:
    """Checks that the fields of the model's task are set, and no others."""
    generates, tags = (manifest.task == task for task in (manifest_pb2.TASK_LANGUAGE_MODEL, manifest_pb2.TASK_TAGGING))
    for name, wanted in (("last_token", generates), ("tagging", tags)):
        if payload.HasField(name) != wanted:
            verb = "needs" if wanted else "must not have"
            raise SnapshotInvalidError(
                f"above position 0, the snapshot of a model for {manifest_pb2.Task.Name(manifest.task)} {verb} {name}"
            )
    rest = payload.generation
    if not generates and (rest.undecoded or rest.counts.token_ids or rest.counts.prompt or rest.counts.generated):
        raise SnapshotInvalidError("the snapshot has the state of a generation, but its model does not generate")


def _state(tensors: Sequence[pb.StateTensor], specs: Sequence[manifest_pb2.StateSpec]) -> State:
    wanted = [spec.name for spec in specs]
    names = [tensor.name for tensor in tensors[: len(wanted) + 1]]  # a hostile snapshot may have millions
    if names != wanted:
        raise SnapshotInvalidError(f"the snapshot's tensors must be {wanted}, got {names}")
    return tuple(_tensor(tensor, spec) for tensor, spec in zip(tensors, specs, strict=True))


def _tensor(tensor: pb.StateTensor, spec: manifest_pb2.StateSpec) -> npt.NDArray[np.float32]:
    shape, dtype = _shape(spec), _DTYPES[spec.element_type]
    size, given = spec.directions * spec.size * dtype.itemsize, list(tensor.shape[:8])
    if (tensor.element_type, len(tensor.data)) == (spec.element_type, size) and given == shape:
        array: npt.NDArray[np.float32] = np.frombuffer(tensor.data, dtype).reshape(spec.directions, 1, spec.size)
        if np.isfinite(array).all():
            return array
        problem = "has numbers that are not finite"
    elif tensor.element_type != spec.element_type:
        problem = f"must have element type {spec.element_type} (see ElementType), got {tensor.element_type}"
    elif given != shape:
        problem = f"must have shape {shape}, got {given}"
    else:
        problem = f"must have {size} bytes for its shape, got {len(tensor.data)}"
    raise SnapshotInvalidError(f"the snapshot's tensor {spec.name!r} {problem}")


def _last_token(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> int | None:
    if not payload.HasField("last_token"):
        return None
    if not 0 <= payload.last_token < manifest.vocabulary.size:
        raise SnapshotInvalidError(
            f"the snapshot's last_token must be in [0, {manifest.vocabulary.size}), got {payload.last_token}"
        )
    return payload.last_token


def _undecoded(payload: pb.SnapshotPayload) -> bytes:
    undecoded = payload.generation.undecoded
    if len(undecoded) > _UNDECODED_BYTES_MAX:
        raise SnapshotInvalidError(
            f"the snapshot's undecoded must have at most {_UNDECODED_BYTES_MAX} bytes, got {len(undecoded)}"
        )
    return undecoded


def _tokens(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> IntArray:
    if not payload.tokens:
        return no_tokens()
    if not reads_ids_alone(manifest):
        raise SnapshotInvalidError("the snapshot keeps tokens, but its model reads more than token ids")
    if len(payload.tokens) != payload.position:
        raise SnapshotInvalidError(
            f"the snapshot must keep {payload.position} tokens, its position, or none, got {len(payload.tokens)}"
        )
    tokens = np.array(payload.tokens, np.int32)
    if tokens.min() < 0 or tokens.max() >= manifest.vocabulary.size:
        raise SnapshotInvalidError(
            f"the snapshot's tokens must be in [0, {manifest.vocabulary.size}), got {tokens.min()} to {tokens.max()}"
        )
    if payload.HasField("last_token") and tokens[-1] != payload.last_token:
        raise SnapshotInvalidError("the last of the snapshot's tokens must be its last_token")
    return tokens


def _counts(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> TokenCounts:
    counts = payload.generation.counts
    size, vocabulary_size = len(counts.token_ids), manifest.vocabulary.size
    if size > vocabulary_size:
        raise SnapshotInvalidError(f"the snapshot must count at most {vocabulary_size} tokens, got {size}")
    if not len(counts.prompt) == len(counts.generated) == size:
        raise SnapshotInvalidError(
            f"the snapshot must have {size} counts, one for each token, got {len(counts.prompt)} and "
            f"{len(counts.generated)}"
        )
    table = np.array([counts.token_ids, counts.prompt, counts.generated], np.int32)
    ids = table[0]
    if size and (table.min() < 0 or ids[-1] >= vocabulary_size or (ids[1:] <= ids[:-1]).any()):
        raise SnapshotInvalidError(
            "the snapshot counts tokens that are outside the vocabulary or not in order, or has negative counts"
        )
    if size and table[1:].max() > _COUNT_MAX:
        raise SnapshotInvalidError(f"the snapshot's counts must be in [0, {_COUNT_MAX}], got {table[1:].max()}")
    total = int(table[1:].sum(dtype=np.int64))
    if manifest.task == manifest_pb2.TASK_LANGUAGE_MODEL and total != payload.position:
        raise SnapshotInvalidError(
            f"the snapshot's counts must add up to its position, {payload.position}, got {total}"
        )
    return TokenCounts(ids, table[1], table[2])


def _sentence(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> Sentence:
    """Reads the position in the sentence. It has a label if, and only if, a CRF needs it to continue."""
    tagging = payload.tagging
    if not 0 <= tagging.sentence_position <= payload.position:
        raise SnapshotInvalidError(
            f"the snapshot's sentence_position must be in [0, {payload.position}], its position, got "
            f"{tagging.sentence_position}"
        )
    if tagging.HasField("last_label") != (manifest.network.crf and tagging.sentence_position < payload.position):
        raise SnapshotInvalidError("the snapshot must have a last_label within a sentence of a CRF, and only there")
    if tagging.HasField("last_label") and not 0 <= tagging.last_label < len(manifest.labels.names):
        raise SnapshotInvalidError(
            f"the snapshot's last_label must be in [0, {len(manifest.labels.names)}), got {tagging.last_label}"
        )
    return Sentence(tagging.sentence_position, tagging.last_label if tagging.HasField("last_label") else None)


def _shape(spec: manifest_pb2.StateSpec) -> list[int]:
    """Returns the shape of a tensor without the batch axis."""
    return [spec.directions, spec.size]
