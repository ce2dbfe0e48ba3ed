"""Builds the responses of ModelService."""

from __future__ import annotations

from seqserve.server.repository import Entry, EntryState
from seqserve.server.settings import ServerSettings
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import model_pb2 as pb

_STATES = {
    EntryState.LOADING: pb.MODEL_STATE_LOADING,
    EntryState.READY: pb.MODEL_STATE_READY,
    EntryState.UNLOADING: pb.MODEL_STATE_UNLOADING,
    EntryState.UNLOADED: pb.MODEL_STATE_UNLOADED,
    EntryState.BROKEN: pb.MODEL_STATE_BROKEN,
}


def model(entry: Entry) -> pb.Model:
    """Describes a version: its task if it is loaded, otherwise why it takes no requests."""
    message = pb.Model(
        servable=common.ServableId(model=entry.name, version=entry.version),
        state=_STATES[entry.state],
        reason=entry.reason,
    )
    if entry.model is not None:
        servable = entry.model.servable
        message.servable.digest = servable.id.digest
        message.task, message.provider = servable.manifest.task, servable.provider
        message.load_time.FromMilliseconds(round(entry.model.load_time_s * 1e3))
    return message


def server_limits(settings: ServerSettings) -> pb.ServerLimits:
    """Returns the limits of this server."""
    return pb.ServerLimits(
        text_bytes_max=settings.limits.text_bytes_max,
        inputs_max=settings.limits.inputs_max,
        queue_depth_max=settings.batch.queue_depth_max,
        snapshot_bytes_max=settings.sessions.snapshot_bytes_max,
        lookahead_max=settings.limits.lookahead_max,
    )
