"""Which version of a model goes on with a state, and from where."""

from __future__ import annotations

from typing import Literal

from seqserve.server.errors import InvalidFieldError, ModelNotReadyError, ServableMismatchError, TaskMismatchError
from seqserve.server.model.manifest import reads_ids_alone
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.repository import Model, Repository
from seqserve.server.sessions.snapshot import mismatch, unpack, unpack_tokens
from seqserve.v1 import state_pb2 as pb

Policy = Literal["pin", "replay", "refuse"]


def resolve_model(
    payload: pb.SnapshotPayload, ref: tuple[str, int | None], repository: Repository, policy: Policy
) -> tuple[Model, SequenceState]:
    """The version that goes on with a state, and its start there; see SessionSettings.on_model_change.

    Args: payload: with the tokens so far, if they are kept. ref: name and version that the request has.
    Raises: as Repository.model; ServableMismatchError; SnapshotInvalidError.
    """
    name, version = ref
    own = repository.find_by_digest(payload.servable.digest, name)
    if own is not None and own.servable.id.model != name:
        own = None
    if policy == "pin" and own is not None and version in (None, own.servable.id.version):
        return own, unpack(payload, own.servable)
    try:
        wanted = repository.model(name, version)
    except ModelNotReadyError:
        if own is None or policy == "refuse" or version not in (None, own.servable.id.version):
            raise
        wanted = own  # it takes no new requests, but this one goes on with what it has begun
    if wanted.servable.id.digest == payload.servable.digest:
        return wanted, unpack(payload, wanted.servable)
    if policy == "replay":
        try:
            return wanted, unpack_tokens(payload, wanted.servable)
        except ServableMismatchError:
            if own is None or version is not None:
                raise
            return own, unpack(payload, own.servable)
    raise mismatch(payload, wanted.servable)


def require_state(model: Model) -> Model:
    """The model, if its sequences have a state. Raises: TaskMismatchError."""
    if model.manifest.network.bidirectional:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} reads its input in both directions and carries no state from one "
            "request to the next; choose a one-directional model"
        )
    return model


def require_tokens_alone(model: Model, field: str) -> None:
    """Raise InvalidFieldError if tokens alone are not what a model could read again."""
    if not reads_ids_alone(model.manifest):
        raise InvalidFieldError(
            f"{field} is set, but model {model.servable.id.model!r} reads more than token ids, so tokens that are kept "
            "could not be read again; leave it out",
            field=field,
        )
