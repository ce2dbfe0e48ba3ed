"""Chooses the version of a model that continues a state."""

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
    """Returns the version that continues a state, and the state as it reads it.

    Args:
        payload: The state, with all tokens if they are kept.
        ref: Name and version of the model in the request.
        repository: The loaded versions.
        policy: What happens if the state belongs to another version; see SessionSettings.on_model_change.

    Raises:
        ModelNotFoundError, VersionNotFoundError, ModelNotReadyError: As Repository.model.
        ServableMismatchError: The policy does not allow another version, or it cannot continue the state.
        SnapshotInvalidError: A field of the payload is invalid.
    """
    name, version = ref
    own = repository.find_by_digest(payload.servable.digest, name)
    if own is not None and own.servable.id.model != name:
        own = None
    if policy == "pin" and own is not None and version in (None, own.servable.id.version):
        return own, unpack(payload, own.servable)
    try:
        requested = repository.model(name, version)
    except ModelNotReadyError:
        if own is None or policy == "refuse" or version not in (None, own.servable.id.version):
            raise
        requested = own  # it takes no new requests, but may finish what it has begun
    if requested.servable.id.digest == payload.servable.digest:
        return requested, unpack(payload, requested.servable)
    if policy == "replay":
        try:
            return requested, unpack_tokens(payload, requested.servable)
        except ServableMismatchError:
            if own is None or version is not None:
                raise
            return own, unpack(payload, own.servable)
    raise mismatch(payload, requested.servable)


def require_state(model: Model) -> Model:
    """Returns the model if its sequences have a state. Raises: TaskMismatchError."""
    if model.manifest.network.bidirectional:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} reads its input in both directions, so it has no state that a "
            "later request could continue; use a one-directional model"
        )
    return model


def require_tokens_alone(model: Model, field: str) -> None:
    """Raises InvalidFieldError if a model cannot replay tokens, because it reads more than token ids."""
    if not reads_ids_alone(model.manifest):
        raise InvalidFieldError(
            f"{field} is set, but model {model.servable.id.model!r} reads more than token ids, so kept tokens "
            "could not be replayed; leave it out",
            field=field,
        )
