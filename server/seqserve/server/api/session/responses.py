"""Builds the responses of SessionService."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from seqserve.server.api.state import timestamp
from seqserve.server.sessions import Session
from seqserve.v1 import session_pb2 as pb


def session(of: Session) -> pb.Session:
    """Converts a session to its message."""
    record, stored = of.record, of.stored
    ttl = Duration()
    ttl.FromMicroseconds(round(record.ttl_s * 1e6))
    return pb.Session(
        id=record.key.id,
        servable=stored.state.servable,
        position=record.position,
        create_time=timestamp(record.created_s),
        update_time=timestamp(record.updated_s),
        expire_time=timestamp(record.expires_s),
        ttl=ttl,
        checkpoints=[
            pb.Checkpoint(name=kept.name, position=kept.state.position, create_time=kept.create_time)
            for kept in stored.checkpoints
        ],
        size_bytes=len(record.body),
        busy=of.busy,
        keep_tokens=stored.keep_tokens,
    )
