"""The client of seqserve: call a server from Python, blocking or with asyncio.

>>> from seqserve.client import Client
>>> with Client("localhost:50051") as client:  # doctest: +SKIP
...     for piece in client.generate("shakespeare-char", "ROMEO:", max_tokens=100, temperature=0.8, seed=1):
...         print(piece.text, end="", flush=True)

`Client` and `AsyncClient` have the same methods: `generate`, `score`, `tag`, `classify`, `fill`, `session`,
`models`, `model`, `health`, and under `sessions` those for sessions that are there; `stream_score`, `stream_tag` and
`stream_classify` answer a text while it comes. A generation that breaks is resumed by itself. What fails raises a
`SeqserveError`; `seqserve.client.errors` draws the tree. `seqserve.client.testing` has a server with scripted answers,
for tests of code that uses the client. The command `seqserve` does the same from a shell.
"""

from seqserve.client._async.client import AsyncClient
from seqserve.client._async.concurrency import AsyncSource
from seqserve.client._async.duplex_stream import (
    AsyncClassifyStream,
    AsyncDuplexStream,
    AsyncScoreStream,
    AsyncTagStream,
)
from seqserve.client._async.generation_stream import AsyncGenerationStream
from seqserve.client._async.session import AsyncSession, AsyncSessions
from seqserve.client._sync.client import Client
from seqserve.client._sync.duplex_stream import ClassifyStream, DuplexStream, ScoreStream, TagStream
from seqserve.client._sync.generation_stream import GenerationStream
from seqserve.client._sync.session import Session, Sessions
from seqserve.client.core.channel import CHANNEL_OPTIONS
from seqserve.client.core.classify_stream import (
    ClassifyFinished,
    ClassifyItem,
    ClassifyStreamOptions,
)
from seqserve.client.core.generate_options import GenerateOptions, Prompt
from seqserve.client.core.score_stream import (
    ScoredToken,
    ScoreFinished,
    ScoreItem,
    ScorePiece,
    ScoreStreamOptions,
)
from seqserve.client.core.stream import FLUSH, SENTENCE_END, Mark, StreamEnd, StreamStarted
from seqserve.client.core.tag_stream import (
    SentenceRule,
    TagFinality,
    TagFinished,
    TagItem,
    TagPiece,
    TagStreamOptions,
)
from seqserve.client.errors import (
    AbortedError,
    AlreadyExistsError,
    CallCancelledError,
    CheckpointNotFoundError,
    DataLossError,
    DeadlineError,
    DrainingError,
    EmptyPromptError,
    ErrorReason,
    ExhaustedError,
    FieldViolation,
    InputTooLongError,
    InternalError,
    InvalidArgumentError,
    InvalidFieldError,
    ModelNotFoundError,
    ModelNotReadyError,
    NonFiniteOutputError,
    NotFoundError,
    OutOfVocabularyError,
    PositionMismatchError,
    PreconditionError,
    ProtocolError,
    QueueFullError,
    Resource,
    SeqserveError,
    ServableMismatchError,
    SessionBusyError,
    SessionExistsError,
    SessionExpiredError,
    SessionNotFoundError,
    ShapeMismatchError,
    SnapshotInvalidError,
    StoreDataLossError,
    StoreFullError,
    StoreUnavailableError,
    StoreUnusableError,
    StreamIdleError,
    StreamOrderError,
    TaskMismatchError,
    UnavailableError,
    UnimplementedError,
    UnreachableError,
    VersionNotFoundError,
)
from seqserve.client.types.answer import Servable, StateResult, Timing
from seqserve.client.types.classification import Classification, TextClassification
from seqserve.client.types.generation import (
    FinishReason,
    GeneratedText,
    GenerationFinished,
    GenerationStarted,
    Piece,
    SampleFinished,
)
from seqserve.client.types.health import HealthStatus
from seqserve.client.types.infilling import FilledBlank, FilledText
from seqserve.client.types.logprobs import StepLogprobs, TokenLogprob
from seqserve.client.types.models import Model, ModelDetails, ModelState, ServerLimits, Task
from seqserve.client.types.scoring import ScoreText, TextScore
from seqserve.client.types.sessions import Checkpoint, SessionInfo
from seqserve.client.types.tagging import LabelScore, OffsetUnit, Tag, TaggedText, TagSpan, TagText
from seqserve.client.types.texts import WholeText

__all__ = [
    "CHANNEL_OPTIONS",
    "FLUSH",
    "SENTENCE_END",
    "AbortedError",
    "AlreadyExistsError",
    "AsyncClassifyStream",
    "AsyncClient",
    "AsyncDuplexStream",
    "AsyncGenerationStream",
    "AsyncScoreStream",
    "AsyncSession",
    "AsyncSessions",
    "AsyncSource",
    "AsyncTagStream",
    "CallCancelledError",
    "Checkpoint",
    "CheckpointNotFoundError",
    "Classification",
    "ClassifyFinished",
    "ClassifyItem",
    "ClassifyStream",
    "ClassifyStreamOptions",
    "Client",
    "DataLossError",
    "DeadlineError",
    "DrainingError",
    "DuplexStream",
    "EmptyPromptError",
    "ErrorReason",
    "ExhaustedError",
    "FieldViolation",
    "FilledBlank",
    "FilledText",
    "FinishReason",
    "GenerateOptions",
    "GeneratedText",
    "GenerationFinished",
    "GenerationStarted",
    "GenerationStream",
    "HealthStatus",
    "InputTooLongError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidFieldError",
    "LabelScore",
    "Mark",
    "Model",
    "ModelDetails",
    "ModelNotFoundError",
    "ModelNotReadyError",
    "ModelState",
    "NonFiniteOutputError",
    "NotFoundError",
    "OffsetUnit",
    "OutOfVocabularyError",
    "Piece",
    "PositionMismatchError",
    "PreconditionError",
    "Prompt",
    "ProtocolError",
    "QueueFullError",
    "Resource",
    "SampleFinished",
    "ScoreFinished",
    "ScoreItem",
    "ScorePiece",
    "ScoreStream",
    "ScoreStreamOptions",
    "ScoreText",
    "ScoredToken",
    "SentenceRule",
    "SeqserveError",
    "Servable",
    "ServableMismatchError",
    "ServerLimits",
    "Session",
    "SessionBusyError",
    "SessionExistsError",
    "SessionExpiredError",
    "SessionInfo",
    "SessionNotFoundError",
    "Sessions",
    "ShapeMismatchError",
    "SnapshotInvalidError",
    "StateResult",
    "StepLogprobs",
    "StoreDataLossError",
    "StoreFullError",
    "StoreUnavailableError",
    "StoreUnusableError",
    "StreamEnd",
    "StreamIdleError",
    "StreamOrderError",
    "StreamStarted",
    "Tag",
    "TagFinality",
    "TagFinished",
    "TagItem",
    "TagPiece",
    "TagSpan",
    "TagStream",
    "TagStreamOptions",
    "TagText",
    "TaggedText",
    "Task",
    "TaskMismatchError",
    "TextClassification",
    "TextScore",
    "Timing",
    "TokenLogprob",
    "UnavailableError",
    "UnimplementedError",
    "UnreachableError",
    "VersionNotFoundError",
    "WholeText",
]
