"""Calls over a real channel: what a generation gave as a whole, and what an error told its caller."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from seqserve.v1 import generation_pb2 as pb


@dataclass
class Generated:
    """All events of one generation."""

    started: pb.GenerationStarted
    pieces: list[pb.GenerationPiece]
    finished: pb.GenerationFinished

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def ids(self) -> list[int]:
        return [token for piece in self.pieces for token in piece.token_ids]

    @property
    def end(self) -> pb.SampleFinished:
        """How the only sample ended."""
        (sample,) = self.finished.samples
        return sample


async def collect(events: AsyncIterable[pb.GenerateResponse]) -> Generated:
    """Read a generation to its end; the order of its events is checked."""
    kinds: list[str | None] = []
    generated = Generated(pb.GenerationStarted(), [], pb.GenerationFinished())
    async for event in events:
        kinds.append(event.WhichOneof("event"))
        match kinds[-1]:
            case "started":
                generated.started = event.started
            case "piece":
                generated.pieces.append(event.piece)
            case _:
                generated.finished = event.finished
    assert kinds == ["started", *["piece"] * (len(kinds) - 2), "finished"]
    return generated


@dataclass
class Refusal:
    """A status other than OK, with its details."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    field: str = ""
    resource: tuple[str, str] | None = None
    retry_s: float | None = None


async def refusal(call: Awaitable[Any] | AsyncIterable[Any]) -> Refusal:
    """What a call that has to fail told; a stream is read until it does."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (_to_the_end(call) if isinstance(call, AsyncIterable) else call)
    error = caught.value
    reported = Refusal(error.code(), error.details() or "")
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            status = status_pb2.Status.FromString(value)
            assert (status.code, status.message) == (reported.code.value[0], reported.message)
            _read(status, reported)
    return reported


async def _to_the_end(events: AsyncIterable[Any]) -> None:
    async for _ in events:
        pass


def read_status(status: status_pb2.Status) -> Refusal:
    """The same from a status that was not sent."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    reported = Refusal(code, status.message)
    _read(status, reported)
    return reported


def _read(status: status_pb2.Status, reported: Refusal) -> None:
    for detail in status.details:
        if (info := _unpacked(detail, error_details_pb2.ErrorInfo())) is not None:
            assert info.domain == "seqserve"
            reported.reason, reported.metadata = info.reason, dict(info.metadata)
        elif (request := _unpacked(detail, error_details_pb2.BadRequest())) is not None:
            (violation,) = request.field_violations
            assert violation.description == reported.message
            reported.field = violation.field
        elif (resource := _unpacked(detail, error_details_pb2.ResourceInfo())) is not None:
            reported.resource = (resource.resource_type, resource.resource_name)
        elif (retry := _unpacked(detail, error_details_pb2.RetryInfo())) is not None:
            reported.retry_s = retry.retry_delay.ToTimedelta().total_seconds()


def _unpacked(detail: Any, into: Any) -> Any:
    assert isinstance(into, Message)
    return into if detail.Unpack(into) else None
