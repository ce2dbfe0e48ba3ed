"""What a snapshot holds of a sequence: written, and read against the manifest of the model that goes on with it.

Whatever is read may come from anybody: each field is checked before it is used.
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
_DTYPES: dict[pb.ElementType, np.dtype[Any]] = {
    pb.ELEMENT_TYPE_FLOAT32: np.dtype("<f4"),
    pb.ELEMENT_TYPE_UINT8: np.dtype("u1"),
}


def payload_of(initial: SequenceState, manifest: manifest_pb2.Manifest) -> pb.SnapshotPayload:
    """A state as a message, which does not say yet whose it is. Args: start: without replay or seed."""
    payload = pb.SnapshotPayload(
        position=initial.position, last_token=initial.last_token, tokens=initial.tokens.tolist()
    )
    for spec, tensor in zip(manifest.states, initial.state or (), strict=initial.state is not None):
        data = np.ascontiguousarray(tensor[:, 0], _DTYPES[spec.element_type]).tobytes()
        payload.tensors.add(name=spec.name, element_type=spec.element_type, shape=_shape(spec), data=data)
    if manifest.task == manifest_pb2.TASK_LANGUAGE_MODEL:
        payload.generation.undecoded = initial.undecoded
        counts = payload.generation.counts
        counts.token_ids.extend(initial.counts.ids.tolist())
        counts.prompt.extend(initial.counts.prompt.tolist())
        counts.generated.extend(initial.counts.generated.tolist())
    elif manifest.task == manifest_pb2.TASK_TAGGING:
        sentence = initial.sentence
        payload.tagging.CopyFrom(
            pb.TaggingRemainder(sentence_position=sentence.position, last_label=sentence.last_label)
        )
    return payload


def start_of(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest, *, with_state: bool) -> SequenceState:
    """Where the sequence of a message goes on. Args: with_state: read its tensors too.

    Returns: Its state's arrays are read-only views of the message's bytes.
    Raises: SnapshotInvalidError saying what is broken.
    """
    if _begins(payload):
        return SequenceState.new()
    _check_remainders(payload, manifest)
    return SequenceState(
        state=_state(payload.tensors, manifest.states) if with_state else None,
        position=payload.position,
        last_token=_last_token(payload, manifest),
        counts=_counts(payload, manifest),
        undecoded=_undecoded(payload),
        tokens=_tokens(payload, manifest),
        sentence=_sentence(payload, manifest),
    )


def is_of_task(payload: pb.SnapshotPayload, task: manifest_pb2.Task) -> bool:
    """Whether a sequence that has tokens may be of a task, by what else it remembers."""
    return (payload.HasField("last_token"), payload.HasField("tagging")) == (
        task == manifest_pb2.TASK_LANGUAGE_MODEL,
        task == manifest_pb2.TASK_TAGGING,
    )


def _begins(payload: pb.SnapshotPayload) -> bool:
    """Whether it is a sequence without tokens, which has nothing else either."""
    if payload.position < 0:
        raise SnapshotInvalidError(f"the snapshot is at position {payload.position}; positions begin at 0")
    if payload.position:
        return False
    text, tags = payload.generation, payload.tagging
    remembers = text.undecoded or text.counts.token_ids or tags.sentence_position or tags.HasField("last_label")
    if payload.tensors or payload.tokens or payload.HasField("last_token") or remembers:
        raise SnapshotInvalidError("the snapshot is at position 0, where there are neither tensors nor tokens")
    return True


def _check_remainders(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> None:
    """Each task has things of its own to remember, and nothing of another's."""
    generates, tags = (manifest.task == task for task in (manifest_pb2.TASK_LANGUAGE_MODEL, manifest_pb2.TASK_TAGGING))
    for name, wanted in (("last_token", generates), ("tagging", tags)):
        if payload.HasField(name) != wanted:
            there, told = ("no", "above position 0 needs") if wanted else ("a", "does not have")
            raise SnapshotInvalidError(
                f"the snapshot has {there} {name.replace('_', ' ')}, which a model for "
                f"{manifest_pb2.Task.Name(manifest.task)} {told}"
            )
    rest = payload.generation
    if not generates and (rest.undecoded or rest.counts.token_ids or rest.counts.prompt or rest.counts.generated):
        raise SnapshotInvalidError("the snapshot remembers a generation, and its model does not generate")


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
    if not payload.HasField("last_token"):
        return None
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
    if not reads_ids_alone(manifest):
        raise SnapshotInvalidError("the snapshot keeps tokens, which are not all that its model reads")
    if len(payload.tokens) != payload.position:
        raise SnapshotInvalidError(
            f"the snapshot keeps {len(payload.tokens)} tokens at position {payload.position}; it keeps all or none"
        )
    tokens = np.array(payload.tokens, np.int32)
    if tokens.min() < 0 or tokens.max() >= manifest.vocabulary.size:
        raise SnapshotInvalidError(
            f"the snapshot keeps tokens outside the vocabulary, which has {manifest.vocabulary.size}"
        )
    if payload.HasField("last_token") and tokens[-1] != payload.last_token:
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


def _sentence(payload: pb.SnapshotPayload, manifest: manifest_pb2.Manifest) -> Sentence:
    """A label is there where, and only where, a CRF needs it to go on."""
    told = payload.tagging
    if not 0 <= told.sentence_position <= payload.position:
        raise SnapshotInvalidError(
            f"the snapshot's sentence begins at {told.sentence_position}, but it is at position {payload.position}"
        )
    if told.HasField("last_label") != (manifest.network.crf and told.sentence_position < payload.position):
        raise SnapshotInvalidError("the snapshot has a last label where there is none, or none where a CRF goes on")
    if told.HasField("last_label") and not 0 <= told.last_label < len(manifest.labels.names):
        raise SnapshotInvalidError(
            f"the snapshot's last label is {told.last_label}, the model has {len(manifest.labels.names)} labels"
        )
    return Sentence(told.sentence_position, told.last_label if told.HasField("last_label") else None)


def _shape(spec: manifest_pb2.StateSpec) -> list[int]:
    """A tensor's shape without the batch axis."""
    return [spec.directions, spec.size]
