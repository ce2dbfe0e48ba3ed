import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from seqserve.v1 import state_pb2 as _state_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_LANGUAGE_MODEL: _ClassVar[Task]
    TASK_TAGGING: _ClassVar[Task]
    TASK_CLASSIFICATION: _ClassVar[Task]
    TASK_INFILLING: _ClassVar[Task]

class Cell(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CELL_UNSPECIFIED: _ClassVar[Cell]
    CELL_RNN_TANH: _ClassVar[Cell]
    CELL_RNN_RELU: _ClassVar[Cell]
    CELL_LSTM: _ClassVar[Cell]
    CELL_LSTM_PEEPHOLE: _ClassVar[Cell]
    CELL_LSTM_COUPLED: _ClassVar[Cell]
    CELL_GRU: _ClassVar[Cell]
    CELL_GRU_RESET_BEFORE: _ClassVar[Cell]
    CELL_GRU_UPDATE_ONLY: _ClassVar[Cell]
    CELL_MGU: _ClassVar[Cell]
    CELL_SRU: _ClassVar[Cell]
    CELL_LEAKY: _ClassVar[Cell]

class TensorRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TENSOR_ROLE_UNSPECIFIED: _ClassVar[TensorRole]
    TENSOR_ROLE_TOKENS: _ClassVar[TensorRole]
    TENSOR_ROLE_LENGTHS: _ClassVar[TensorRole]
    TENSOR_ROLE_WORD_BYTES: _ClassVar[TensorRole]
    TENSOR_ROLE_WORD_LENGTHS: _ClassVar[TensorRole]
    TENSOR_ROLE_FEATURES: _ClassVar[TensorRole]
    TENSOR_ROLE_TOKEN_LOGITS: _ClassVar[TensorRole]
    TENSOR_ROLE_LABEL_SCORES: _ClassVar[TensorRole]
    TENSOR_ROLE_LABEL_PATH: _ClassVar[TensorRole]
    TENSOR_ROLE_CLASS_LOGITS: _ClassVar[TensorRole]
    TENSOR_ROLE_CARRY_LENGTHS: _ClassVar[TensorRole]

class TokenLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOKEN_LEVEL_UNSPECIFIED: _ClassVar[TokenLevel]
    TOKEN_LEVEL_CHARACTER: _ClassVar[TokenLevel]
    TOKEN_LEVEL_BYTE: _ClassVar[TokenLevel]
    TOKEN_LEVEL_WORD: _ClassVar[TokenLevel]
    TOKEN_LEVEL_SUBWORD: _ClassVar[TokenLevel]

class LabelScheme(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_SCHEME_UNSPECIFIED: _ClassVar[LabelScheme]
    LABEL_SCHEME_NONE: _ClassVar[LabelScheme]
    LABEL_SCHEME_BIO: _ClassVar[LabelScheme]
    LABEL_SCHEME_BIOES: _ClassVar[LabelScheme]
TASK_UNSPECIFIED: Task
TASK_LANGUAGE_MODEL: Task
TASK_TAGGING: Task
TASK_CLASSIFICATION: Task
TASK_INFILLING: Task
CELL_UNSPECIFIED: Cell
CELL_RNN_TANH: Cell
CELL_RNN_RELU: Cell
CELL_LSTM: Cell
CELL_LSTM_PEEPHOLE: Cell
CELL_LSTM_COUPLED: Cell
CELL_GRU: Cell
CELL_GRU_RESET_BEFORE: Cell
CELL_GRU_UPDATE_ONLY: Cell
CELL_MGU: Cell
CELL_SRU: Cell
CELL_LEAKY: Cell
TENSOR_ROLE_UNSPECIFIED: TensorRole
TENSOR_ROLE_TOKENS: TensorRole
TENSOR_ROLE_LENGTHS: TensorRole
TENSOR_ROLE_WORD_BYTES: TensorRole
TENSOR_ROLE_WORD_LENGTHS: TensorRole
TENSOR_ROLE_FEATURES: TensorRole
TENSOR_ROLE_TOKEN_LOGITS: TensorRole
TENSOR_ROLE_LABEL_SCORES: TensorRole
TENSOR_ROLE_LABEL_PATH: TensorRole
TENSOR_ROLE_CLASS_LOGITS: TensorRole
TENSOR_ROLE_CARRY_LENGTHS: TensorRole
TOKEN_LEVEL_UNSPECIFIED: TokenLevel
TOKEN_LEVEL_CHARACTER: TokenLevel
TOKEN_LEVEL_BYTE: TokenLevel
TOKEN_LEVEL_WORD: TokenLevel
TOKEN_LEVEL_SUBWORD: TokenLevel
LABEL_SCHEME_UNSPECIFIED: LabelScheme
LABEL_SCHEME_NONE: LabelScheme
LABEL_SCHEME_BIO: LabelScheme
LABEL_SCHEME_BIOES: LabelScheme

class Manifest(_message.Message):
    __slots__ = ("format_version", "task", "network", "graph", "inputs", "outputs", "states", "vocabulary", "labels", "limits", "precision", "training", "metrics", "parity", "generation", "quantization", "description", "license")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    task: Task
    network: Network
    graph: GraphFile
    inputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    states: _containers.RepeatedCompositeFieldContainer[StateSpec]
    vocabulary: Vocabulary
    labels: Labels
    limits: Limits
    precision: _state_pb2.Precision
    training: TrainingRecord
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    parity: ParityProof
    generation: GenerationDefaults
    quantization: QuantizationRecord
    description: str
    license: str
    def __init__(self, format_version: _Optional[int] = ..., task: _Optional[_Union[Task, str]] = ..., network: _Optional[_Union[Network, _Mapping]] = ..., graph: _Optional[_Union[GraphFile, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., states: _Optional[_Iterable[_Union[StateSpec, _Mapping]]] = ..., vocabulary: _Optional[_Union[Vocabulary, _Mapping]] = ..., labels: _Optional[_Union[Labels, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., precision: _Optional[_Union[_state_pb2.Precision, str]] = ..., training: _Optional[_Union[TrainingRecord, _Mapping]] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., parity: _Optional[_Union[ParityProof, _Mapping]] = ..., generation: _Optional[_Union[GenerationDefaults, _Mapping]] = ..., quantization: _Optional[_Union[QuantizationRecord, _Mapping]] = ..., description: _Optional[str] = ..., license: _Optional[str] = ...) -> None: ...

class Network(_message.Message):
    __slots__ = ("cell", "layers", "hidden_size", "bidirectional", "input_size", "parameters", "crf", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CELL_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_SIZE_FIELD_NUMBER: _ClassVar[int]
    BIDIRECTIONAL_FIELD_NUMBER: _ClassVar[int]
    INPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CRF_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    cell: Cell
    layers: int
    hidden_size: int
    bidirectional: bool
    input_size: int
    parameters: int
    crf: bool
    details: _containers.ScalarMap[str, str]
    def __init__(self, cell: _Optional[_Union[Cell, str]] = ..., layers: _Optional[int] = ..., hidden_size: _Optional[int] = ..., bidirectional: bool = ..., input_size: _Optional[int] = ..., parameters: _Optional[int] = ..., crf: bool = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class GraphFile(_message.Message):
    __slots__ = ("sha256", "size_bytes", "opset", "tokenizer_sha256")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPSET_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    opset: int
    tokenizer_sha256: str
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., opset: _Optional[int] = ..., tokenizer_sha256: _Optional[str] = ...) -> None: ...

class TensorSpec(_message.Message):
    __slots__ = ("name", "role", "element_type", "axes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: TensorRole
    element_type: _state_pb2.ElementType
    axes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., role: _Optional[_Union[TensorRole, str]] = ..., element_type: _Optional[_Union[_state_pb2.ElementType, str]] = ..., axes: _Optional[_Iterable[str]] = ...) -> None: ...

class StateSpec(_message.Message):
    __slots__ = ("name", "input", "output", "element_type", "directions", "size", "initial_value", "initial_values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    INITIAL_VALUE_FIELD_NUMBER: _ClassVar[int]
    INITIAL_VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    input: str
    output: str
    element_type: _state_pb2.ElementType
    directions: int
    size: int
    initial_value: float
    initial_values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., input: _Optional[str] = ..., output: _Optional[str] = ..., element_type: _Optional[_Union[_state_pb2.ElementType, str]] = ..., directions: _Optional[int] = ..., size: _Optional[int] = ..., initial_value: _Optional[float] = ..., initial_values: _Optional[_Iterable[float]] = ...) -> None: ...

class Vocabulary(_message.Message):
    __slots__ = ("level", "size", "start_token", "end_token", "unknown_token", "mask_token", "word_bytes_max", "probes")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    START_TOKEN_FIELD_NUMBER: _ClassVar[int]
    END_TOKEN_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MASK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WORD_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    level: TokenLevel
    size: int
    start_token: int
    end_token: int
    unknown_token: int
    mask_token: int
    word_bytes_max: int
    probes: _containers.RepeatedCompositeFieldContainer[TokenizerProbe]
    def __init__(self, level: _Optional[_Union[TokenLevel, str]] = ..., size: _Optional[int] = ..., start_token: _Optional[int] = ..., end_token: _Optional[int] = ..., unknown_token: _Optional[int] = ..., mask_token: _Optional[int] = ..., word_bytes_max: _Optional[int] = ..., probes: _Optional[_Iterable[_Union[TokenizerProbe, _Mapping]]] = ...) -> None: ...

class TokenizerProbe(_message.Message):
    __slots__ = ("text", "token_ids")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    text: str
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, text: _Optional[str] = ..., token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Labels(_message.Message):
    __slots__ = ("names", "scheme", "multiple", "threshold", "transitions", "start_scores", "end_scores")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    MULTIPLE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    START_SCORES_FIELD_NUMBER: _ClassVar[int]
    END_SCORES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    scheme: LabelScheme
    multiple: bool
    threshold: float
    transitions: _containers.RepeatedScalarFieldContainer[float]
    start_scores: _containers.RepeatedScalarFieldContainer[float]
    end_scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, names: _Optional[_Iterable[str]] = ..., scheme: _Optional[_Union[LabelScheme, str]] = ..., multiple: bool = ..., threshold: _Optional[float] = ..., transitions: _Optional[_Iterable[float]] = ..., start_scores: _Optional[_Iterable[float]] = ..., end_scores: _Optional[_Iterable[float]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("tokens_max", "prompt_tokens_max", "generate_tokens_max")
    TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    GENERATE_TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    tokens_max: int
    prompt_tokens_max: int
    generate_tokens_max: int
    def __init__(self, tokens_max: _Optional[int] = ..., prompt_tokens_max: _Optional[int] = ..., generate_tokens_max: _Optional[int] = ...) -> None: ...

class TrainingRecord(_message.Message):
    __slots__ = ("command", "config", "data", "seconds", "steps", "finish_time", "versions", "device")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    FINISH_TIME_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    command: str
    config: _struct_pb2.Struct
    data: _containers.RepeatedCompositeFieldContainer[DataSource]
    seconds: float
    steps: int
    finish_time: _timestamp_pb2.Timestamp
    versions: _containers.ScalarMap[str, str]
    device: str
    def __init__(self, command: _Optional[str] = ..., config: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., data: _Optional[_Iterable[_Union[DataSource, _Mapping]]] = ..., seconds: _Optional[float] = ..., steps: _Optional[int] = ..., finish_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., versions: _Optional[_Mapping[str, str]] = ..., device: _Optional[str] = ...) -> None: ...

class DataSource(_message.Message):
    __slots__ = ("name", "split", "sha256", "license", "tokens")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    name: str
    split: str
    sha256: str
    license: str
    tokens: int
    def __init__(self, name: _Optional[str] = ..., split: _Optional[str] = ..., sha256: _Optional[str] = ..., license: _Optional[str] = ..., tokens: _Optional[int] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("name", "split", "value", "unit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    split: str
    value: float
    unit: str
    def __init__(self, name: _Optional[str] = ..., split: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ...) -> None: ...

class ParityProof(_message.Message):
    __slots__ = ("max_abs_error_outputs", "max_abs_error_states", "tolerance", "batch_sizes", "lengths", "cases", "carried_cases", "provider", "torch_version", "onnxruntime_version", "graph_sha256")
    MAX_ABS_ERROR_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    MAX_ABS_ERROR_STATES_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZES_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    CARRIED_CASES_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TORCH_VERSION_FIELD_NUMBER: _ClassVar[int]
    ONNXRUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    GRAPH_SHA256_FIELD_NUMBER: _ClassVar[int]
    max_abs_error_outputs: float
    max_abs_error_states: float
    tolerance: float
    batch_sizes: _containers.RepeatedScalarFieldContainer[int]
    lengths: _containers.RepeatedScalarFieldContainer[int]
    cases: int
    carried_cases: int
    provider: str
    torch_version: str
    onnxruntime_version: str
    graph_sha256: str
    def __init__(self, max_abs_error_outputs: _Optional[float] = ..., max_abs_error_states: _Optional[float] = ..., tolerance: _Optional[float] = ..., batch_sizes: _Optional[_Iterable[int]] = ..., lengths: _Optional[_Iterable[int]] = ..., cases: _Optional[int] = ..., carried_cases: _Optional[int] = ..., provider: _Optional[str] = ..., torch_version: _Optional[str] = ..., onnxruntime_version: _Optional[str] = ..., graph_sha256: _Optional[str] = ...) -> None: ...

class GenerationDefaults(_message.Message):
    __slots__ = ("temperature", "max_tokens")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    max_tokens: int
    def __init__(self, temperature: _Optional[float] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class QuantizationRecord(_message.Message):
    __slots__ = ("metric", "float32_value", "quantized_value", "max_abs_logit_error", "mean_abs_logit_error", "size_ratio", "data")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    FLOAT32_VALUE_FIELD_NUMBER: _ClassVar[int]
    QUANTIZED_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAX_ABS_LOGIT_ERROR_FIELD_NUMBER: _ClassVar[int]
    MEAN_ABS_LOGIT_ERROR_FIELD_NUMBER: _ClassVar[int]
    SIZE_RATIO_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    metric: str
    float32_value: float
    quantized_value: float
    max_abs_logit_error: float
    mean_abs_logit_error: float
    size_ratio: float
    data: _containers.RepeatedCompositeFieldContainer[DataSource]
    def __init__(self, metric: _Optional[str] = ..., float32_value: _Optional[float] = ..., quantized_value: _Optional[float] = ..., max_abs_logit_error: _Optional[float] = ..., mean_abs_logit_error: _Optional[float] = ..., size_ratio: _Optional[float] = ..., data: _Optional[_Iterable[_Union[DataSource, _Mapping]]] = ...) -> None: ...
