"""Field checks that the services share. Each error names the field, the value and the range."""

from __future__ import annotations

from typing import Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from seqserve.server.engine.output_stream import Times
from seqserve.server.engine.pool import EnginePool
from seqserve.server.engine.requests import Admission
from seqserve.server.errors import InputTooLongError, InvalidFieldError, UnimplementedError
from seqserve.server.model.servable import ServableId
from seqserve.server.repository import Model
from seqserve.server.settings import LimitSettings
from seqserve.v1 import classification_pb2, generation_pb2, manifest_pb2, tagging_pb2
from seqserve.v1 import common_pb2 as common

PRINCIPAL_KEY = "seqserve-principal"  # metadata key that names who calls
_NAME_CHARACTERS_MAX = 128

StreamConfig = tagging_pb2.StreamTagConfig | classification_pb2.StreamClassifyConfig | generation_pb2.StreamScoreConfig
"""The first message of a client stream."""


def number(message: Message, name: str, default: float, low: float, high: float, path: str) -> float:
    """Returns an optional number in [low, high].

    Raises: InvalidFieldError if it is outside, NaN included.
    """
    if not message.HasField(name):
        return default
    value: float = getattr(message, name)
    if not low <= value <= high:
        raise _outside(path, name, f"{value:g}", f"{low:g}", f"{high:g}")
    return value


def integer(message: Message, name: str, default: int, low: int, high: int, path: str) -> int:
    """Returns an optional integer in [low, high]. Raises: InvalidFieldError if it is outside."""
    if not message.HasField(name):
        return default
    value: int = getattr(message, name)
    if not low <= value <= high:
        raise _outside(path, name, str(value), str(low), str(high))
    return value


def seconds(value: Duration, most_s: float, field: str) -> float:
    """Converts a duration to seconds. Raises: InvalidFieldError if it is not in (0, limit]."""
    span_s = value.seconds + value.nanos * 1e-9
    if not 0 < span_s <= most_s:
        raise InvalidFieldError(
            f"{field} must be above 0 and at most {most_s:.12g} s, got {span_s:.12g} s", field=field
        )
    return span_s


def idle_s(config: StreamConfig, limits: LimitSettings) -> float:
    """Returns the idle timeout of a client stream, in seconds. Raises: InvalidFieldError."""
    if not config.HasField("idle_timeout"):
        return limits.stream_idle_s
    return seconds(config.idle_timeout, limits.stream_idle_max_s, "config.idle_timeout")


def _outside(path: str, name: str, value: str, low: str, high: str) -> InvalidFieldError:
    where = f"{path}.{name}" if path else name
    return InvalidFieldError(f"{where} must be in [{low}, {high}], got {value}", field=where)


def refuse(message: Message, names: tuple[str, ...], path: str) -> None:
    """Raises UnimplementedError if one of these fields is set, which this server does not implement."""
    for field, _ in message.ListFields():
        if field.name in names:
            where = f"{path}.{field.name}" if path else field.name
            raise UnimplementedError(f"this server does not implement {where} yet; leave it out", field=where)


def model_ref(ref: common.ModelRef, path: str = "model") -> tuple[str, int | None]:
    """Returns the name and version of the model in a request.

    Args: path: Path of the reference in the message.
    Raises: InvalidFieldError for an empty name, one that is too long, or a version below 1.
    """
    if not ref.name:
        raise InvalidFieldError(f"{path}.name is empty; name the model", field=f"{path}.name")
    if len(ref.name) > _NAME_CHARACTERS_MAX:
        raise InvalidFieldError(
            f"{path}.name has {len(ref.name)} characters; names have at most {_NAME_CHARACTERS_MAX}",
            field=f"{path}.name",
        )
    if ref.HasField("version") and ref.version < 1:
        raise InvalidFieldError(f"{path}.version is {ref.version}; versions begin at 1", field=f"{path}.version")
    return ref.name, ref.version if ref.HasField("version") else None


def servable_id(identity: ServableId) -> common.ServableId:
    """Converts the identity of a servable."""
    return common.ServableId(model=identity.model, version=identity.version, digest=identity.digest)


def timing(times: Times) -> common.Timing:
    """Converts the times of a request to milliseconds since its admission."""
    return common.Timing(
        queue_ms=1e3 * (times.started_s - times.admitted_s),
        first_output_ms=1e3 * (times.first_output_s - times.admitted_s),
        total_ms=1e3 * (times.ended_s - times.admitted_s),
    )


def timing_of(times: list[Times]) -> common.Timing | None:
    """Merges the times of several sequences, from the earliest to the latest; None if there are none."""
    if not times:
        return None
    return timing(
        Times(
            min(time.admitted_s for time in times),
            min(time.started_s for time in times),
            min(time.first_output_s for time in times),
            max(time.ended_s for time in times),
        )
    )


def check_inputs(count: int, limits: LimitSettings) -> None:
    """Raises InvalidFieldError if a request has no inputs, InputTooLongError if it has more than the limit."""
    if not count:
        raise InvalidFieldError("inputs is empty; send at least one text", field="inputs")
    if count > limits.inputs_max:
        raise InputTooLongError(
            f"inputs has {count} texts, the server takes at most {limits.inputs_max}; send several requests",
            field="inputs",
        )


def check_bytes(text: str, limits: LimitSettings, field: str) -> None:
    """Raises InputTooLongError if a text exceeds the limit in bytes."""
    if (size := len(text.encode("utf-8"))) > limits.text_bytes_max:
        raise InputTooLongError(
            f"{field} has {size} bytes, the server takes at most {limits.text_bytes_max}; cut it into several requests",
            field=field,
            metadata={"count": str(size), "limit": str(limits.text_bytes_max)},
        )


def owner(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Returns the owner of a call's sessions: the principal in its metadata; callers without one share an owner."""
    return next((str(value) for key, value in context.invocation_metadata() or () if key == PRINCIPAL_KEY), "")


def admission(context: grpc.aio.ServicerContext[Any, Any], engine: EnginePool, priority: int = 0) -> Admission:
    """Returns the caller of a call (the principal in the metadata, else the connection), priority and deadline."""
    left_s: Any = context.time_remaining()  # None for a call without a deadline, which the stubs forget
    deadline_s: float | None = None if left_s is None else engine.clock() + left_s
    return Admission(owner(context) or context.peer(), priority, deadline_s)


def task_name(model: Model) -> str:
    """Returns the task of a model in words."""
    return manifest_pb2.Task.Name(model.manifest.task).removeprefix("TASK_").lower().replace("_", " ")
