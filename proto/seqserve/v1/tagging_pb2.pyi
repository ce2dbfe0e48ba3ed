import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from seqserve.v1 import common_pb2 as _common_pb2
from seqserve.v1 import state_pb2 as _state_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TagFinality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TAG_FINALITY_UNSPECIFIED: _ClassVar[TagFinality]
    TAG_FINALITY_IMMEDIATE: _ClassVar[TagFinality]
    TAG_FINALITY_LOOKAHEAD: _ClassVar[TagFinality]
    TAG_FINALITY_SENTENCE: _ClassVar[TagFinality]

class SentenceRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SENTENCE_RULE_UNSPECIFIED: _ClassVar[SentenceRule]
    SENTENCE_RULE_CLIENT: _ClassVar[SentenceRule]
    SENTENCE_RULE_NEWLINE: _ClassVar[SentenceRule]
    SENTENCE_RULE_PUNCTUATION: _ClassVar[SentenceRule]
TAG_FINALITY_UNSPECIFIED: TagFinality
TAG_FINALITY_IMMEDIATE: TagFinality
TAG_FINALITY_LOOKAHEAD: TagFinality
TAG_FINALITY_SENTENCE: TagFinality
SENTENCE_RULE_UNSPECIFIED: SentenceRule
SENTENCE_RULE_CLIENT: SentenceRule
SENTENCE_RULE_NEWLINE: SentenceRule
SENTENCE_RULE_PUNCTUATION: SentenceRule

class TagRequest(_message.Message):
    __slots__ = ("model", "inputs", "outputs")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    inputs: _containers.RepeatedCompositeFieldContainer[TagInput]
    outputs: TagOutputs
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[TagInput, _Mapping]]] = ..., outputs: _Optional[_Union[TagOutputs, _Mapping]] = ...) -> None: ...

class TagInput(_message.Message):
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

class TagOutputs(_message.Message):
    __slots__ = ("top_labels", "spans", "offset_unit")
    TOP_LABELS_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_UNIT_FIELD_NUMBER: _ClassVar[int]
    top_labels: int
    spans: bool
    offset_unit: _common_pb2.OffsetUnit
    def __init__(self, top_labels: _Optional[int] = ..., spans: bool = ..., offset_unit: _Optional[_Union[_common_pb2.OffsetUnit, str]] = ...) -> None: ...

class TagResponse(_message.Message):
    __slots__ = ("servable", "sequences", "timing")
    SERVABLE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    servable: _common_pb2.ServableId
    sequences: _containers.RepeatedCompositeFieldContainer[TaggedSequence]
    timing: _common_pb2.Timing
    def __init__(self, servable: _Optional[_Union[_common_pb2.ServableId, _Mapping]] = ..., sequences: _Optional[_Iterable[_Union[TaggedSequence, _Mapping]]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class TaggedSequence(_message.Message):
    __slots__ = ("tags", "spans")
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedCompositeFieldContainer[Tag]
    spans: _containers.RepeatedCompositeFieldContainer[TagSpan]
    def __init__(self, tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ..., spans: _Optional[_Iterable[_Union[TagSpan, _Mapping]]] = ...) -> None: ...

class Tag(_message.Message):
    __slots__ = ("token", "label", "score", "offsets", "position", "top", "provisional")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    token: str
    label: str
    score: float
    offsets: _common_pb2.Offsets
    position: int
    top: _containers.RepeatedCompositeFieldContainer[_common_pb2.LabelScore]
    provisional: bool
    def __init__(self, token: _Optional[str] = ..., label: _Optional[str] = ..., score: _Optional[float] = ..., offsets: _Optional[_Union[_common_pb2.Offsets, _Mapping]] = ..., position: _Optional[int] = ..., top: _Optional[_Iterable[_Union[_common_pb2.LabelScore, _Mapping]]] = ..., provisional: bool = ...) -> None: ...

class TagSpan(_message.Message):
    __slots__ = ("label", "score", "offsets", "first_position", "last_position", "text")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    FIRST_POSITION_FIELD_NUMBER: _ClassVar[int]
    LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    label: str
    score: float
    offsets: _common_pb2.Offsets
    first_position: int
    last_position: int
    text: str
    def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ..., offsets: _Optional[_Union[_common_pb2.Offsets, _Mapping]] = ..., first_position: _Optional[int] = ..., last_position: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class StreamTagRequest(_message.Message):
    __slots__ = ("config", "text", "words", "token_ids", "features", "sentence_end", "flush", "end")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_END_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    config: StreamTagConfig
    text: str
    words: _common_pb2.Words
    token_ids: _common_pb2.TokenIds
    features: _common_pb2.FeatureSequence
    sentence_end: SentenceEnd
    flush: _common_pb2.Flush
    end: _common_pb2.EndOfInput
    def __init__(self, config: _Optional[_Union[StreamTagConfig, _Mapping]] = ..., text: _Optional[str] = ..., words: _Optional[_Union[_common_pb2.Words, _Mapping]] = ..., token_ids: _Optional[_Union[_common_pb2.TokenIds, _Mapping]] = ..., features: _Optional[_Union[_common_pb2.FeatureSequence, _Mapping]] = ..., sentence_end: _Optional[_Union[SentenceEnd, _Mapping]] = ..., flush: _Optional[_Union[_common_pb2.Flush, _Mapping]] = ..., end: _Optional[_Union[_common_pb2.EndOfInput, _Mapping]] = ...) -> None: ...

class SentenceEnd(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamTagConfig(_message.Message):
    __slots__ = ("model", "outputs", "state", "request_id", "finality", "lookahead", "sentence_rule", "provisional", "decision_lag_max", "idle_timeout")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FINALITY_FIELD_NUMBER: _ClassVar[int]
    LOOKAHEAD_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_RULE_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    DECISION_LAG_MAX_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    outputs: TagOutputs
    state: _state_pb2.StateOptions
    request_id: str
    finality: TagFinality
    lookahead: int
    sentence_rule: SentenceRule
    provisional: bool
    decision_lag_max: int
    idle_timeout: _duration_pb2.Duration
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., outputs: _Optional[_Union[TagOutputs, _Mapping]] = ..., state: _Optional[_Union[_state_pb2.StateOptions, _Mapping]] = ..., request_id: _Optional[str] = ..., finality: _Optional[_Union[TagFinality, str]] = ..., lookahead: _Optional[int] = ..., sentence_rule: _Optional[_Union[SentenceRule, str]] = ..., provisional: bool = ..., decision_lag_max: _Optional[int] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamTagResponse(_message.Message):
    __slots__ = ("started", "piece", "finished")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    started: StreamTagStarted
    piece: StreamTagPiece
    finished: StreamTagFinished
    def __init__(self, started: _Optional[_Union[StreamTagStarted, _Mapping]] = ..., piece: _Optional[_Union[StreamTagPiece, _Mapping]] = ..., finished: _Optional[_Union[StreamTagFinished, _Mapping]] = ...) -> None: ...

class StreamTagStarted(_message.Message):
    __slots__ = ("servable", "position")
    SERVABLE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    servable: _common_pb2.ServableId
    position: int
    def __init__(self, servable: _Optional[_Union[_common_pb2.ServableId, _Mapping]] = ..., position: _Optional[int] = ...) -> None: ...

class StreamTagPiece(_message.Message):
    __slots__ = ("tags", "spans")
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedCompositeFieldContainer[Tag]
    spans: _containers.RepeatedCompositeFieldContainer[TagSpan]
    def __init__(self, tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ..., spans: _Optional[_Iterable[_Union[TagSpan, _Mapping]]] = ...) -> None: ...

class StreamTagFinished(_message.Message):
    __slots__ = ("tokens", "state", "timing", "reason")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    state: _state_pb2.StateResult
    timing: _common_pb2.Timing
    reason: _common_pb2.StreamEnd
    def __init__(self, tokens: _Optional[int] = ..., state: _Optional[_Union[_state_pb2.StateResult, _Mapping]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.StreamEnd, str]] = ...) -> None: ...
