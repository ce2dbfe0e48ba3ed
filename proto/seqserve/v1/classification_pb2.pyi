import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from seqserve.v1 import common_pb2 as _common_pb2
from seqserve.v1 import state_pb2 as _state_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassifyRequest(_message.Message):
    __slots__ = ("model", "inputs", "top_labels")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    TOP_LABELS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    inputs: _containers.RepeatedCompositeFieldContainer[ClassifyInput]
    top_labels: int
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[ClassifyInput, _Mapping]]] = ..., top_labels: _Optional[int] = ...) -> None: ...

class ClassifyInput(_message.Message):
    __slots__ = ("text", "words", "token_ids", "features")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    text: str
    words: _common_pb2.Words
    token_ids: _common_pb2.TokenIds
    features: _common_pb2.FeatureSequence
    def __init__(self, text: _Optional[str] = ..., words: _Optional[_Union[_common_pb2.Words, _Mapping]] = ..., token_ids: _Optional[_Union[_common_pb2.TokenIds, _Mapping]] = ..., features: _Optional[_Union[_common_pb2.FeatureSequence, _Mapping]] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("servable", "classifications", "timing")
    SERVABLE_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    servable: _common_pb2.ServableId
    classifications: _containers.RepeatedCompositeFieldContainer[Classification]
    timing: _common_pb2.Timing
    def __init__(self, servable: _Optional[_Union[_common_pb2.ServableId, _Mapping]] = ..., classifications: _Optional[_Iterable[_Union[Classification, _Mapping]]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("labels", "chosen", "tokens")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.LabelScore]
    chosen: _containers.RepeatedScalarFieldContainer[str]
    tokens: int
    def __init__(self, labels: _Optional[_Iterable[_Union[_common_pb2.LabelScore, _Mapping]]] = ..., chosen: _Optional[_Iterable[str]] = ..., tokens: _Optional[int] = ...) -> None: ...

class StreamClassifyRequest(_message.Message):
    __slots__ = ("config", "text", "words", "token_ids", "features", "flush", "end")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    config: StreamClassifyConfig
    text: str
    words: _common_pb2.Words
    token_ids: _common_pb2.TokenIds
    features: _common_pb2.FeatureSequence
    flush: _common_pb2.Flush
    end: _common_pb2.EndOfInput
    def __init__(self, config: _Optional[_Union[StreamClassifyConfig, _Mapping]] = ..., text: _Optional[str] = ..., words: _Optional[_Union[_common_pb2.Words, _Mapping]] = ..., token_ids: _Optional[_Union[_common_pb2.TokenIds, _Mapping]] = ..., features: _Optional[_Union[_common_pb2.FeatureSequence, _Mapping]] = ..., flush: _Optional[_Union[_common_pb2.Flush, _Mapping]] = ..., end: _Optional[_Union[_common_pb2.EndOfInput, _Mapping]] = ...) -> None: ...

class StreamClassifyConfig(_message.Message):
    __slots__ = ("model", "top_labels", "state", "request_id", "idle_timeout")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOP_LABELS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    top_labels: int
    state: _state_pb2.StateOptions
    request_id: str
    idle_timeout: _duration_pb2.Duration
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., top_labels: _Optional[int] = ..., state: _Optional[_Union[_state_pb2.StateOptions, _Mapping]] = ..., request_id: _Optional[str] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamClassifyResponse(_message.Message):
    __slots__ = ("started", "update", "finished")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    started: StreamClassifyStarted
    update: StreamClassifyUpdate
    finished: StreamClassifyFinished
    def __init__(self, started: _Optional[_Union[StreamClassifyStarted, _Mapping]] = ..., update: _Optional[_Union[StreamClassifyUpdate, _Mapping]] = ..., finished: _Optional[_Union[StreamClassifyFinished, _Mapping]] = ...) -> None: ...

class StreamClassifyStarted(_message.Message):
    __slots__ = ("servable", "position")
    SERVABLE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    servable: _common_pb2.ServableId
    position: int
    def __init__(self, servable: _Optional[_Union[_common_pb2.ServableId, _Mapping]] = ..., position: _Optional[int] = ...) -> None: ...

class StreamClassifyUpdate(_message.Message):
    __slots__ = ("classification", "position")
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    classification: Classification
    position: int
    def __init__(self, classification: _Optional[_Union[Classification, _Mapping]] = ..., position: _Optional[int] = ...) -> None: ...

class StreamClassifyFinished(_message.Message):
    __slots__ = ("classification", "state", "timing", "reason")
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    classification: Classification
    state: _state_pb2.StateResult
    timing: _common_pb2.Timing
    reason: _common_pb2.StreamEnd
    def __init__(self, classification: _Optional[_Union[Classification, _Mapping]] = ..., state: _Optional[_Union[_state_pb2.StateResult, _Mapping]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.StreamEnd, str]] = ...) -> None: ...
