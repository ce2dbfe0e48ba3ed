import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from seqserve.v1 import state_pb2 as _state_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StoredSession(_message.Message):
    __slots__ = ("state", "keep_tokens", "checkpoints", "create_request_id", "last", "applied_before")
    STATE_FIELD_NUMBER: _ClassVar[int]
    KEEP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    APPLIED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    state: _state_pb2.SnapshotPayload
    keep_tokens: bool
    checkpoints: _containers.RepeatedCompositeFieldContainer[StoredCheckpoint]
    create_request_id: str
    last: AppliedRequest
    applied_before: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, state: _Optional[_Union[_state_pb2.SnapshotPayload, _Mapping]] = ..., keep_tokens: bool = ..., checkpoints: _Optional[_Iterable[_Union[StoredCheckpoint, _Mapping]]] = ..., create_request_id: _Optional[str] = ..., last: _Optional[_Union[AppliedRequest, _Mapping]] = ..., applied_before: _Optional[_Iterable[str]] = ...) -> None: ...

class StoredCheckpoint(_message.Message):
    __slots__ = ("name", "create_time", "state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    create_time: _timestamp_pb2.Timestamp
    state: _state_pb2.SnapshotPayload
    def __init__(self, name: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[_state_pb2.SnapshotPayload, _Mapping]] = ...) -> None: ...

class AppliedRequest(_message.Message):
    __slots__ = ("request_id", "seed", "before", "request_digest")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    seed: int
    before: _state_pb2.SnapshotPayload
    request_digest: bytes
    def __init__(self, request_id: _Optional[str] = ..., seed: _Optional[int] = ..., before: _Optional[_Union[_state_pb2.SnapshotPayload, _Mapping]] = ..., request_digest: _Optional[bytes] = ...) -> None: ...
