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

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_EOS: _ClassVar[FinishReason]
    FINISH_REASON_CANCELLED: _ClassVar[FinishReason]
    FINISH_REASON_DEADLINE: _ClassVar[FinishReason]
    FINISH_REASON_ERROR: _ClassVar[FinishReason]
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_EOS: FinishReason
FINISH_REASON_CANCELLED: FinishReason
FINISH_REASON_DEADLINE: FinishReason
FINISH_REASON_ERROR: FinishReason

class GenerateRequest(_message.Message):
    __slots__ = ("model", "text", "token_ids", "sampling", "stopping", "outputs", "state", "request_id", "resume", "priority")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    text: str
    token_ids: _common_pb2.TokenIds
    sampling: SamplingParams
    stopping: StoppingParams
    outputs: GenerateOutputs
    state: _state_pb2.StateOptions
    request_id: str
    resume: ResumePoint
    priority: int
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., text: _Optional[str] = ..., token_ids: _Optional[_Union[_common_pb2.TokenIds, _Mapping]] = ..., sampling: _Optional[_Union[SamplingParams, _Mapping]] = ..., stopping: _Optional[_Union[StoppingParams, _Mapping]] = ..., outputs: _Optional[_Union[GenerateOutputs, _Mapping]] = ..., state: _Optional[_Union[_state_pb2.StateOptions, _Mapping]] = ..., request_id: _Optional[str] = ..., resume: _Optional[_Union[ResumePoint, _Mapping]] = ..., priority: _Optional[int] = ...) -> None: ...

class SamplingParams(_message.Message):
    __slots__ = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "allowed_token_ids", "banned_token_ids", "seed", "n", "best_of", "beam_width", "length_penalty")
    class LogitBiasEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: float
        def __init__(self, key: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_PENALTY_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_PENALTY_FIELD_NUMBER: _ClassVar[int]
    LOGIT_BIAS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    BANNED_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    BEST_OF_FIELD_NUMBER: _ClassVar[int]
    BEAM_WIDTH_FIELD_NUMBER: _ClassVar[int]
    LENGTH_PENALTY_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: _containers.ScalarMap[int, float]
    allowed_token_ids: _containers.RepeatedScalarFieldContainer[int]
    banned_token_ids: _containers.RepeatedScalarFieldContainer[int]
    seed: int
    n: int
    best_of: int
    beam_width: int
    length_penalty: float
    def __init__(self, temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., min_p: _Optional[float] = ..., repetition_penalty: _Optional[float] = ..., presence_penalty: _Optional[float] = ..., frequency_penalty: _Optional[float] = ..., logit_bias: _Optional[_Mapping[int, float]] = ..., allowed_token_ids: _Optional[_Iterable[int]] = ..., banned_token_ids: _Optional[_Iterable[int]] = ..., seed: _Optional[int] = ..., n: _Optional[int] = ..., best_of: _Optional[int] = ..., beam_width: _Optional[int] = ..., length_penalty: _Optional[float] = ...) -> None: ...

class StoppingParams(_message.Message):
    __slots__ = ("max_tokens", "min_tokens", "stop", "stop_token_ids", "ignore_eos", "include_stop")
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MIN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    STOP_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    IGNORE_EOS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_STOP_FIELD_NUMBER: _ClassVar[int]
    max_tokens: int
    min_tokens: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    stop_token_ids: _containers.RepeatedScalarFieldContainer[int]
    ignore_eos: bool
    include_stop: bool
    def __init__(self, max_tokens: _Optional[int] = ..., min_tokens: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., stop_token_ids: _Optional[_Iterable[int]] = ..., ignore_eos: bool = ..., include_stop: bool = ...) -> None: ...

class GenerateOutputs(_message.Message):
    __slots__ = ("logprobs", "prompt_logprobs", "omit_token_ids")
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    OMIT_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    logprobs: int
    prompt_logprobs: int
    omit_token_ids: bool
    def __init__(self, logprobs: _Optional[int] = ..., prompt_logprobs: _Optional[int] = ..., omit_token_ids: bool = ...) -> None: ...

class ResumePoint(_message.Message):
    __slots__ = ("seed", "received")
    SEED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    seed: int
    received: _containers.RepeatedCompositeFieldContainer[_common_pb2.TokenIds]
    def __init__(self, seed: _Optional[int] = ..., received: _Optional[_Iterable[_Union[_common_pb2.TokenIds, _Mapping]]] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("started", "piece", "finished")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    started: GenerationStarted
    piece: GenerationPiece
    finished: GenerationFinished
    def __init__(self, started: _Optional[_Union[GenerationStarted, _Mapping]] = ..., piece: _Optional[_Union[GenerationPiece, _Mapping]] = ..., finished: _Optional[_Union[GenerationFinished, _Mapping]] = ...) -> None: ...

class GenerationStarted(_message.Message):
    __slots__ = ("servable", "seed", "prompt_tokens", "position", "prompt_logprobs")
    SERVABLE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PROMPT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    servable: _common_pb2.ServableId
    seed: int
    prompt_tokens: int
    position: int
    prompt_logprobs: _containers.RepeatedCompositeFieldContainer[_common_pb2.StepLogprobs]
    def __init__(self, servable: _Optional[_Union[_common_pb2.ServableId, _Mapping]] = ..., seed: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., position: _Optional[int] = ..., prompt_logprobs: _Optional[_Iterable[_Union[_common_pb2.StepLogprobs, _Mapping]]] = ...) -> None: ...

class GenerationPiece(_message.Message):
    __slots__ = ("sample", "text", "token_ids", "logprobs", "position")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    sample: int
    text: str
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    logprobs: _containers.RepeatedCompositeFieldContainer[_common_pb2.StepLogprobs]
    position: int
    def __init__(self, sample: _Optional[int] = ..., text: _Optional[str] = ..., token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[_Union[_common_pb2.StepLogprobs, _Mapping]]] = ..., position: _Optional[int] = ...) -> None: ...

class GenerationFinished(_message.Message):
    __slots__ = ("samples", "prompt_tokens", "generated_tokens", "cached_tokens", "timing", "state")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    samples: _containers.RepeatedCompositeFieldContainer[SampleFinished]
    prompt_tokens: int
    generated_tokens: int
    cached_tokens: int
    timing: _common_pb2.Timing
    state: _state_pb2.StateResult
    def __init__(self, samples: _Optional[_Iterable[_Union[SampleFinished, _Mapping]]] = ..., prompt_tokens: _Optional[int] = ..., generated_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ..., state: _Optional[_Union[_state_pb2.StateResult, _Mapping]] = ...) -> None: ...

class SampleFinished(_message.Message):
    __slots__ = ("sample", "reason", "matched_stop", "matched_token", "tokens", "logprob")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MATCHED_STOP_FIELD_NUMBER: _ClassVar[int]
    MATCHED_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    sample: int
    reason: FinishReason
    matched_stop: str
    matched_token: int
    tokens: int
    logprob: float
    def __init__(self, sample: _Optional[int] = ..., reason: _Optional[_Union[FinishReason, str]] = ..., matched_stop: _Optional[str] = ..., matched_token: _Optional[int] = ..., tokens: _Optional[int] = ..., logprob: _Optional[float] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("model", "inputs", "logprobs", "state", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    inputs: _containers.RepeatedCompositeFieldContainer[ScoreInput]
    logprobs: int
    state: _state_pb2.StateOptions
    request_id: str
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[ScoreInput, _Mapping]]] = ..., logprobs: _Optional[int] = ..., state: _Optional[_Union[_state_pb2.StateOptions, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ScoreInput(_message.Message):
    __slots__ = ("text", "token_ids")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    text: str
    token_ids: _common_pb2.TokenIds
    def __init__(self, text: _Optional[str] = ..., token_ids: _Optional[_Union[_common_pb2.TokenIds, _Mapping]] = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ("servable", "scores", "state", "timing")
    SERVABLE_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    servable: _common_pb2.ServableId
    scores: _containers.RepeatedCompositeFieldContainer[SequenceScore]
    state: _state_pb2.StateResult
    timing: _common_pb2.Timing
    def __init__(self, servable: _Optional[_Union[_common_pb2.ServableId, _Mapping]] = ..., scores: _Optional[_Iterable[_Union[SequenceScore, _Mapping]]] = ..., state: _Optional[_Union[_state_pb2.StateResult, _Mapping]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ...) -> None: ...

class SequenceScore(_message.Message):
    __slots__ = ("logprob", "scored_tokens", "perplexity", "tokens")
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    SCORED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PERPLEXITY_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    logprob: float
    scored_tokens: int
    perplexity: float
    tokens: _containers.RepeatedCompositeFieldContainer[_common_pb2.StepLogprobs]
    def __init__(self, logprob: _Optional[float] = ..., scored_tokens: _Optional[int] = ..., perplexity: _Optional[float] = ..., tokens: _Optional[_Iterable[_Union[_common_pb2.StepLogprobs, _Mapping]]] = ...) -> None: ...

class StreamScoreRequest(_message.Message):
    __slots__ = ("config", "text", "token_ids", "flush", "end")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    config: StreamScoreConfig
    text: str
    token_ids: _common_pb2.TokenIds
    flush: _common_pb2.Flush
    end: _common_pb2.EndOfInput
    def __init__(self, config: _Optional[_Union[StreamScoreConfig, _Mapping]] = ..., text: _Optional[str] = ..., token_ids: _Optional[_Union[_common_pb2.TokenIds, _Mapping]] = ..., flush: _Optional[_Union[_common_pb2.Flush, _Mapping]] = ..., end: _Optional[_Union[_common_pb2.EndOfInput, _Mapping]] = ...) -> None: ...

class StreamScoreConfig(_message.Message):
    __slots__ = ("model", "top_logprobs", "state", "request_id", "idle_timeout")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    top_logprobs: int
    state: _state_pb2.StateOptions
    request_id: str
    idle_timeout: _duration_pb2.Duration
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., top_logprobs: _Optional[int] = ..., state: _Optional[_Union[_state_pb2.StateOptions, _Mapping]] = ..., request_id: _Optional[str] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamScoreResponse(_message.Message):
    __slots__ = ("started", "piece", "finished")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    started: StreamScoreStarted
    piece: StreamScorePiece
    finished: StreamScoreFinished
    def __init__(self, started: _Optional[_Union[StreamScoreStarted, _Mapping]] = ..., piece: _Optional[_Union[StreamScorePiece, _Mapping]] = ..., finished: _Optional[_Union[StreamScoreFinished, _Mapping]] = ...) -> None: ...

class StreamScoreStarted(_message.Message):
    __slots__ = ("servable", "position")
    SERVABLE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    servable: _common_pb2.ServableId
    position: int
    def __init__(self, servable: _Optional[_Union[_common_pb2.ServableId, _Mapping]] = ..., position: _Optional[int] = ...) -> None: ...

class StreamScorePiece(_message.Message):
    __slots__ = ("tokens", "position", "offsets")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[_common_pb2.StepLogprobs]
    position: int
    offsets: _containers.RepeatedCompositeFieldContainer[_common_pb2.Offsets]
    def __init__(self, tokens: _Optional[_Iterable[_Union[_common_pb2.StepLogprobs, _Mapping]]] = ..., position: _Optional[int] = ..., offsets: _Optional[_Iterable[_Union[_common_pb2.Offsets, _Mapping]]] = ...) -> None: ...

class StreamScoreFinished(_message.Message):
    __slots__ = ("total", "state", "timing", "reason")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    total: SequenceScore
    state: _state_pb2.StateResult
    timing: _common_pb2.Timing
    reason: _common_pb2.StreamEnd
    def __init__(self, total: _Optional[_Union[SequenceScore, _Mapping]] = ..., state: _Optional[_Union[_state_pb2.StateResult, _Mapping]] = ..., timing: _Optional[_Union[_common_pb2.Timing, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.StreamEnd, str]] = ...) -> None: ...
