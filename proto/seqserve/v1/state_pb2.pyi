import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from seqserve.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StateDestination(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_DESTINATION_UNSPECIFIED: _ClassVar[StateDestination]
    STATE_DESTINATION_DISCARD: _ClassVar[StateDestination]
    STATE_DESTINATION_SESSION: _ClassVar[StateDestination]
    STATE_DESTINATION_SNAPSHOT: _ClassVar[StateDestination]

class BusyPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUSY_POLICY_UNSPECIFIED: _ClassVar[BusyPolicy]
    BUSY_POLICY_REFUSE: _ClassVar[BusyPolicy]
    BUSY_POLICY_WAIT: _ClassVar[BusyPolicy]

class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRECISION_UNSPECIFIED: _ClassVar[Precision]
    PRECISION_FLOAT32: _ClassVar[Precision]
    PRECISION_INT8: _ClassVar[Precision]

class ElementType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ELEMENT_TYPE_UNSPECIFIED: _ClassVar[ElementType]
    ELEMENT_TYPE_FLOAT32: _ClassVar[ElementType]
    ELEMENT_TYPE_UINT8: _ClassVar[ElementType]
    ELEMENT_TYPE_INT32: _ClassVar[ElementType]
    ELEMENT_TYPE_INT64: _ClassVar[ElementType]
STATE_DESTINATION_UNSPECIFIED: StateDestination
STATE_DESTINATION_DISCARD: StateDestination
STATE_DESTINATION_SESSION: StateDestination
STATE_DESTINATION_SNAPSHOT: StateDestination
BUSY_POLICY_UNSPECIFIED: BusyPolicy
BUSY_POLICY_REFUSE: BusyPolicy
BUSY_POLICY_WAIT: BusyPolicy
PRECISION_UNSPECIFIED: Precision
PRECISION_FLOAT32: Precision
PRECISION_INT8: Precision
ELEMENT_TYPE_UNSPECIFIED: ElementType
ELEMENT_TYPE_FLOAT32: ElementType
ELEMENT_TYPE_UINT8: ElementType
ELEMENT_TYPE_INT32: ElementType
ELEMENT_TYPE_INT64: ElementType

class StateOptions(_message.Message):
    __slots__ = ("session_id", "snapshot", "destination", "expected_position", "create_if_absent", "ttl", "busy_policy", "checkpoint", "keep_tokens")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_POSITION_FIELD_NUMBER: _ClassVar[int]
    CREATE_IF_ABSENT_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    BUSY_POLICY_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    KEEP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    snapshot: bytes
    destination: StateDestination
    expected_position: int
    create_if_absent: bool
    ttl: _duration_pb2.Duration
    busy_policy: BusyPolicy
    checkpoint: str
    keep_tokens: bool
    def __init__(self, session_id: _Optional[str] = ..., snapshot: _Optional[bytes] = ..., destination: _Optional[_Union[StateDestination, str]] = ..., expected_position: _Optional[int] = ..., create_if_absent: bool = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., busy_policy: _Optional[_Union[BusyPolicy, str]] = ..., checkpoint: _Optional[str] = ..., keep_tokens: bool = ...) -> None: ...

class StateResult(_message.Message):
    __slots__ = ("position", "session_id", "expire_time", "snapshot", "already_applied")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_APPLIED_FIELD_NUMBER: _ClassVar[int]
    position: int
    session_id: str
    expire_time: _timestamp_pb2.Timestamp
    snapshot: bytes
    already_applied: bool
    def __init__(self, position: _Optional[int] = ..., session_id: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., snapshot: _Optional[bytes] = ..., already_applied: bool = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("format_version", "payload", "sha256", "hmac_sha256")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    HMAC_SHA256_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    payload: bytes
    sha256: bytes
    hmac_sha256: bytes
    def __init__(self, format_version: _Optional[int] = ..., payload: _Optional[bytes] = ..., sha256: _Optional[bytes] = ..., hmac_sha256: _Optional[bytes] = ...) -> None: ...

class SnapshotPayload(_message.Message):
    __slots__ = ("servable", "position", "last_token", "tensors", "tokens", "generation", "create_time", "tagging", "tokenizer_sha256", "precision")
    SERVABLE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LAST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TAGGING_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_SHA256_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    servable: _common_pb2.ServableId
    position: int
    last_token: int
    tensors: _containers.RepeatedCompositeFieldContainer[StateTensor]
    tokens: _containers.RepeatedScalarFieldContainer[int]
    generation: GenerationRemainder
    create_time: _timestamp_pb2.Timestamp
    tagging: TaggingRemainder
    tokenizer_sha256: bytes
    precision: Precision
    def __init__(self, servable: _Optional[_Union[_common_pb2.ServableId, _Mapping]] = ..., position: _Optional[int] = ..., last_token: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[StateTensor, _Mapping]]] = ..., tokens: _Optional[_Iterable[int]] = ..., generation: _Optional[_Union[GenerationRemainder, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tagging: _Optional[_Union[TaggingRemainder, _Mapping]] = ..., tokenizer_sha256: _Optional[bytes] = ..., precision: _Optional[_Union[Precision, str]] = ...) -> None: ...

class StateTensor(_message.Message):
    __slots__ = ("name", "element_type", "shape", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    element_type: ElementType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, name: _Optional[str] = ..., element_type: _Optional[_Union[ElementType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class GenerationRemainder(_message.Message):
    __slots__ = ("undecoded", "counts")
    UNDECODED_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    undecoded: bytes
    counts: TokenCounts
    def __init__(self, undecoded: _Optional[bytes] = ..., counts: _Optional[_Union[TokenCounts, _Mapping]] = ...) -> None: ...

class TokenCounts(_message.Message):
    __slots__ = ("token_ids", "prompt", "generated")
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    GENERATED_FIELD_NUMBER: _ClassVar[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    prompt: _containers.RepeatedScalarFieldContainer[int]
    generated: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, token_ids: _Optional[_Iterable[int]] = ..., prompt: _Optional[_Iterable[int]] = ..., generated: _Optional[_Iterable[int]] = ...) -> None: ...

class TaggingRemainder(_message.Message):
    __slots__ = ("sentence_position", "last_label")
    SENTENCE_POSITION_FIELD_NUMBER: _ClassVar[int]
    LAST_LABEL_FIELD_NUMBER: _ClassVar[int]
    sentence_position: int
    last_label: int
    def __init__(self, sentence_position: _Optional[int] = ..., last_label: _Optional[int] = ...) -> None: ...
