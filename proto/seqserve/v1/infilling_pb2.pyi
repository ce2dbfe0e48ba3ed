from seqserve.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FillInRequest(_message.Message):
    __slots__ = ("model", "inputs", "top_k", "blank", "offset_unit")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    BLANK_FIELD_NUMBER: _ClassVar[int]
    OFFSET_UNIT_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    inputs: _containers.RepeatedCompositeFieldContainer[FillInInput]
    top_k: int
    blank: str
    offset_unit: _common_pb2.OffsetUnit
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[FillInInput, _Mapping]]] = ..., top_k: _Optional[int] = ..., blank: _Optional[str] = ..., offset_unit: _Optional[_Union[_common_pb2.OffsetUnit, str]] = ...) -> None: ...

class FillInInput(_message.Message):
    __slots__ = ("text", "words", "token_ids")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    text: str
    words: _common_pb2.Words
    token_ids: _common_pb2.TokenIds
    def __init__(self, text: _Optional[str] = ..., words: _Optional[_Union[_common_pb2.Words, _Mapping]] = ..., token_ids: _Optional[_Union[_common_pb2.TokenIds, _Mapping]] = ...) -> None: ...

class FillInResponse(_message.Message):
    __slots__ = ("servable", "sequences", "timing")
    SERVABLE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    servable: _common_pb2.ServableId
    sequences: _containers.RepeatedCompositeFieldContainer[FilledSequence]
    timing: _common_pb2.Timing
    def __init__(self, servable: _Optional[_Union[_common_pb2.ServableId, _Mapping]] = ..., sequences: _Optional[_Iterable[_Union[FilledSequence, _Mapping]]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class FilledSequence(_message.Message):
    __slots__ = ("blanks", "text")
    BLANKS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    blanks: _containers.RepeatedCompositeFieldContainer[FilledBlank]
    text: str
    def __init__(self, blanks: _Optional[_Iterable[_Union[FilledBlank, _Mapping]]] = ..., text: _Optional[str] = ...) -> None: ...

class FilledBlank(_message.Message):
    __slots__ = ("position", "offsets", "candidates")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    position: int
    offsets: _common_pb2.Offsets
    candidates: _containers.RepeatedCompositeFieldContainer[_common_pb2.TokenLogprob]
    def __init__(self, position: _Optional[int] = ..., offsets: _Optional[_Union[_common_pb2.Offsets, _Mapping]] = ..., candidates: _Optional[_Iterable[_Union[_common_pb2.TokenLogprob, _Mapping]]] = ...) -> None: ...
