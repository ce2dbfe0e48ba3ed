"""What a server tells of its models."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from seqserve.server.repository import Entry
from seqserve.server.settings import ServerSettings
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import model_pb2 as pb


def model(entry: Entry) -> pb.Model:
    """One version: what it does if it serves, why not if it does not."""
    if entry.model is None:
        return pb.Model(
            servable=common.ServableId(model=entry.name, version=entry.version),
            state=pb.MODEL_STATE_BROKEN,
            reason=entry.reason,
        )
    servable = entry.model.servable
    load_time = Timestamp()
    load_time.FromMilliseconds(round(entry.model.load_time_s * 1e3))
    return pb.Model(
        servable=common.ServableId(model=entry.name, version=entry.version, digest=servable.id.digest),
        task=servable.manifest.task,
        state=pb.MODEL_STATE_READY,
        provider=servable.provider,
        load_time=load_time,
    )


def server_limits(settings: ServerSettings) -> pb.ServerLimits:
    """The limits of this server."""
    return pb.ServerLimits(
        text_bytes_max=settings.limits.text_bytes_max,
        inputs_max=settings.limits.inputs_max,
        queue_depth_max=settings.batch.queue_depth_max,
    )
